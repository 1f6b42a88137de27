/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/contract.h"
#include "vmm/engine/kvm/features.h"
#include "vmm/engine/kvm/kvm.h"

/*
 * What the guest was shown, said in feature bits, and whether this host could show it too.
 * Checked before a page is sent; the state that comes later is checked by the same rules.
 */
#define XSAVE_LEAF 0xdu
#define LEAF_POWER 0x80000007u
#define INVTSC     (1u << 8)

/* Room for every feature word, and for size and offset of each XSAVE component. */
#define WORDS_MAX (64u + 2 * 62u)

static void word_add(struct kvm_promise *p, uint32_t function, uint32_t index, uint32_t reg,
		     uint32_t bits)
{
	Segue__CpuidWord *w;

	if (!bits || p->n == WORDS_MAX)
		return;
	w = &p->words[p->n];
	segue__cpuid_word__init(w);
	w->function = function;
	w->index = index;
	w->reg = reg;
	w->bits = bits;
	p->list[p->n++] = w;
}

static void words_fill(struct kvm_promise *p, const struct cpuid_table *guest)
{
	for (size_t i = 0; i < feature_words_count; i++) {
		const struct feature_word *f = &feature_words[i];

		word_add(p, f->function, f->index, f->reg,
			 cpuid_reg(guest, f->function, f->index, f->reg) & ~f->free);
	}
	for (uint32_t i = 2; i < 63; i++) {
		if (!(cpuid_xcr0(guest) >> i & 1))
			continue;
		word_add(p, XSAVE_LEAF, i, REG_EAX, cpuid_reg(guest, XSAVE_LEAF, i, REG_EAX));
		word_add(p, XSAVE_LEAF, i, REG_EBX, cpuid_reg(guest, XSAVE_LEAF, i, REG_EBX));
	}
}

static void promise_done(struct kvm_promise *p)
{
	free(p->words);
	free(p->list);
	memset(p, 0, sizeof(*p));
}

static int promise_make(struct kvm_promise *p, const struct cpuid_table *guest,
			struct error *err)
{
	memset(p, 0, sizeof(*p));
	p->words = calloc(WORDS_MAX, sizeof(*p->words));
	p->list = calloc(WORDS_MAX, sizeof(*p->list));
	if (!p->words || !p->list) {
		promise_done(p);
		return error_system(err, -ENOMEM, "the contract");
	}
	cpuid_vendor(guest, p->vendor);
	words_fill(p, guest);
	return 0;
}

void kvm_contract_done(struct kvm_engine *e)
{
	promise_done(&e->promise);
}

int kvm_contract_make(struct kvm_engine *e, struct error *err)
{
	promise_done(&e->promise);
	return promise_make(&e->promise, &e->cpuid, err);
}

static void promise_show(struct kvm_engine *e, struct kvm_promise *p,
			 const struct cpuid_table *guest, Segue__Contract *contract)
{
	contract->engine = (char *)engine_kvm.name;
	contract->cpu_model = e->cpu_model;
	contract->cpu_vendor = p->vendor;
	contract->cpuid = p->list;
	contract->n_cpuid = p->n;
	contract->xcr0 = cpuid_xcr0(guest);
}

int kvm_contract(struct engine *engine, Segue__Contract *contract)
{
	struct kvm_engine *e = kvm_engine_of(engine);

	promise_show(e, &e->promise, &e->cpuid, contract);
	contract->tsc_khz = e->tsc_khz;
	return 0;
}

static int vendor_check(const struct cpuid_table *host, const char *wanted, struct error *err)
{
	char vendor[13];

	cpuid_vendor(host, vendor);
	if (!strcmp(vendor, wanted))
		return 0;
	return error_set(err, -ENOTSUP, "this host's processor is %s, the guest's is %s", vendor,
			 wanted);
}

/* Size and offset of an XSAVE component are no bits: they are the same or they are not. */
static bool is_layout(uint32_t function, uint32_t index)
{
	return function == XSAVE_LEAF && index >= 2;
}

int contract_words_check(const struct cpuid_table *host, const Segue__Contract *contract,
			 struct error *err)
{
	struct feature_list missing = {0};

	for (size_t i = 0; i < contract->n_cpuid; i++) {
		const Segue__CpuidWord *w = contract->cpuid[i];
		uint32_t has = cpuid_reg(host, w->function, w->index, w->reg);

		if (w->reg > REG_EDX)
			return error_set(err, -EPROTO, "the guest's contract names register %u",
					 w->reg);
		if (is_layout(w->function, w->index) && has && has != w->bits)
			return error_set(err, -ENOTSUP,
					 "this host's processor lays out XSAVE component %u "
					 "differently", w->index);
		if (!is_layout(w->function, w->index) && !feature_word_find(w->function, w->index, w->reg))
			return error_set(err, -ENOTSUP,
					 "the guest needs bits 0x%x of CPUID %x.%x register %u, "
					 "of which this monitor knows nothing", w->bits,
					 w->function, w->index, w->reg);
		if (!is_layout(w->function, w->index))
			feature_list_add(&missing, w->function, w->index, w->reg,
					 w->bits & ~has);
	}
	if (!missing.count)
		return 0;
	return error_set(err, -ENOTSUP,
			 "this host's processor lacks %s, which the guest's CPU model %s has",
			 missing.text, contract->cpu_model);
}

static int xcr0_check(const struct cpuid_table *host, uint64_t wanted, struct error *err)
{
	uint64_t lacking = wanted & ~cpuid_xcr0(host);

	if (!lacking)
		return 0;
	return error_set(err, -ENOTSUP,
			 "this host saves no processor state of components 0x%llx, which the "
			 "guest uses", (unsigned long long)lacking);
}

static bool trusts_tsc(const Segue__Contract *contract)
{
	for (size_t i = 0; i < contract->n_cpuid; i++) {
		const Segue__CpuidWord *w = contract->cpuid[i];

		if (w->function == LEAF_POWER && w->reg == REG_EDX && (w->bits & INVTSC))
			return true;
	}
	return false;
}

int kvm_accept(struct engine *engine, const Segue__Contract *contract, struct error *err)
{
	struct kvm_engine *e = kvm_engine_of(engine);
	int r;

	if (strcmp(contract->engine, engine_kvm.name) != 0)
		return error_set(err, -ENOTSUP, "the guest runs under engine %s, not %s here",
				 contract->engine, engine_kvm.name);
	r = vendor_check(&e->host, contract->cpu_vendor, err);
	if (r == 0)
		r = contract_words_check(&e->host, contract, err);
	if (r == 0)
		r = xcr0_check(&e->host, contract->xcr0, err);
	if (r == 0)
		r = kvm_tsc_rate_check(e, contract->tsc_khz, trusts_tsc(contract), err);
	return r;
}

int kvm_cpuid_check(struct kvm_engine *e, const struct cpuid_table *guest, uint64_t tsc_khz,
		    struct error *err)
{
	Segue__Contract contract = SEGUE__CONTRACT__INIT;
	struct kvm_promise promise;
	int r = promise_make(&promise, guest, err);

	if (r < 0)
		return r;
	promise_show(e, &promise, guest, &contract);
	contract.tsc_khz = tsc_khz;
	r = kvm_accept(&e->engine, &contract, err);
	promise_done(&promise);
	return r;
}
