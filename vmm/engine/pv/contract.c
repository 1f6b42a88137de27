/* SPDX-License-Identifier: Apache-2.0 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/contract.h"
#include "vmm/engine/kvm/features.h"
#include "vmm/engine/pv/pv.h"

/*
 * What the guest can rely on: it runs on this processor as any program does, and may have
 * looked at all that CPUID says. So a destination must have every feature that programs
 * can use, and the same layout of XSAVE; not the same way of running the guest.
 */
#define LEAF_XSAVE 0xdu

/* The leaves of features that are instructions, not the operating system's. */
static bool of_programs(const struct feature_word *w)
{
	switch (w->function) {
	case 1:
	case 7:
	case LEAF_XSAVE:
	case 0x80000001:
	case 0x80000008:
		return w->index != 2;
	default:
		return false;
	}
}

static int table_add(struct cpuid_table *table, uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 e = {.function = function, .index = index};

	if (!__get_cpuid_count(function, index, &e.eax, &e.ebx, &e.ecx, &e.edx))
		return 0;
	return cpuid_put(table, &e);
}

static int host_read(struct cpuid_table *table)
{
	int r = table_add(table, 0, 0);

	for (size_t i = 0; i < feature_words_count && r == 0; i++) {
		if (of_programs(&feature_words[i]))
			r = table_add(table, feature_words[i].function, feature_words[i].index);
	}
	for (uint32_t i = 2; i < 8 && r == 0; i++) {
		if (pv_xsave_components() >> i & 1)
			r = table_add(table, LEAF_XSAVE, i);
	}
	return r;
}

static void word_add(struct pv_promise *p, uint32_t function, uint32_t index, unsigned reg,
		     uint32_t bits)
{
	Segue__CpuidWord *w;

	if (!bits || p->n == PV_PROMISE_WORDS)
		return;
	w = &p->words[p->n];
	segue__cpuid_word__init(w);
	w->function = function;
	w->index = index;
	w->reg = reg;
	w->bits = bits;
	p->list[p->n++] = w;
}

static void words_fill(struct pv_promise *p)
{
	for (size_t i = 0; i < feature_words_count; i++) {
		const struct feature_word *f = &feature_words[i];

		if (of_programs(f))
			word_add(p, f->function, f->index, f->reg,
				 cpuid_reg(&p->host, f->function, f->index, f->reg) & ~f->free);
	}
	for (uint32_t i = 2; i < 8; i++) {
		if (!(pv_xsave_components() >> i & 1))
			continue;
		word_add(p, LEAF_XSAVE, i, REG_EAX, cpuid_reg(&p->host, LEAF_XSAVE, i, REG_EAX));
		word_add(p, LEAF_XSAVE, i, REG_EBX, cpuid_reg(&p->host, LEAF_XSAVE, i, REG_EBX));
	}
}

int pv_contract_make(struct pv_engine *e, struct error *err)
{
	int r = host_read(&e->promise.host);

	if (r < 0)
		return error_system(err, r, "this processor's features");
	cpuid_vendor(&e->promise.host, e->promise.vendor);
	words_fill(&e->promise);
	return 0;
}

int pv_contract(struct engine *engine, Segue__Contract *contract)
{
	struct pv_engine *e = pv_engine_of(engine);

	contract->engine = (char *)engine_pv.name;
	contract->cpu_model = (char *)"host";
	contract->cpu_vendor = e->promise.vendor;
	contract->cpuid = e->promise.list;
	contract->n_cpuid = e->promise.n;
	contract->xcr0 = e->xsave_components;
	pthread_mutex_lock(&e->timer.lock);
	contract->tsc_khz = pv_clock_khz(&e->clock);
	pthread_mutex_unlock(&e->timer.lock);
	return 0;
}

int pv_accept(struct engine *engine, const Segue__Contract *contract, struct error *err)
{
	struct pv_engine *e = pv_engine_of(engine);
	int r;

	if (strcmp(contract->engine, engine_pv.name) != 0)
		return error_set(err, -ENOTSUP, "the guest runs under engine %s, not %s here",
				 contract->engine, engine_pv.name);
	if (strcmp(contract->cpu_vendor, e->promise.vendor) != 0)
		return error_set(err, -ENOTSUP, "this host's processor is %s, the guest's is %s",
				 e->promise.vendor, contract->cpu_vendor);
	if (contract->xcr0 & ~pv_xsave_components())
		return error_set(err, -ENOTSUP,
				 "this host saves no processor state of components 0x%llx, "
				 "which the guest uses",
				 (unsigned long long)(contract->xcr0 & ~pv_xsave_components()));
	r = contract_words_check(&e->promise.host, contract, err);
	/* A process takes its time, and here is still time: the guest runs at its source. */
	return r < 0 ? r : pv_kernel_ahead(e, err);
}
