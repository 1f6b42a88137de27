/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/contract.h"
#include "vmm/engine/kvm/wire.h"

/*
 * Saving and loading the whole engine. A load checks all of the message before it touches
 * the machine, CPUID against this host included: what comes from a peer may be anything.
 */
struct saving {
	Segue__KvmState message;
	struct kvm_board_state board;
	struct wire_board wire_board;
	struct kvm_clocks clocks;
	Segue__KvmCpuid cpuid[CPUID_ENTRIES_MAX];
	Segue__KvmCpuid *cpuid_list[CPUID_ENTRIES_MAX];
	Segue__KvmVcpu *vcpu_list[KVM_VCPUS_MAX];
	struct kvm_cpu_state *cpus[KVM_VCPUS_MAX];
	struct wire_cpu wire[];
};

static void saving_free(struct saving *s)
{
	for (unsigned i = 0; s && i < KVM_VCPUS_MAX; i++)
		free(s->cpus[i]);
	free(s);
}

static void cpuid_put_all(struct saving *s, const struct cpuid_table *table)
{
	for (unsigned i = 0; i < table->count; i++) {
		const struct kvm_cpuid_entry2 *from = &table->entries[i];
		Segue__KvmCpuid *to = &s->cpuid[i];

		segue__kvm_cpuid__init(to);
		to->function = from->function;
		to->index = from->index;
		to->flags = from->flags;
		to->eax = from->eax;
		to->ebx = from->ebx;
		to->ecx = from->ecx;
		to->edx = from->edx;
		s->cpuid_list[i] = to;
	}
	s->message.n_cpuid = table->count;
	s->message.cpuid = s->cpuid_list;
}

static int cpu_save(struct kvm_engine *e, struct saving *s, unsigned i, struct error *err)
{
	int r;

	s->cpus[i] = kvm_cpu_state_new(e);
	if (!s->cpus[i])
		return error_system(err, -ENOMEM, "the state of vCPU %u", i);
	r = kvm_cpu_capture(e, i, s->cpus[i], err);
	if (r < 0)
		return r;
	wire_cpu_put(&s->wire[i], s->cpus[i], e->has_sregs2);
	s->wire[i].message.tsc = s->clocks.tsc[i];
	s->wire[i].message.tsc_deadline = s->clocks.tsc_deadline[i];
	s->vcpu_list[i] = &s->wire[i].message;
	return 0;
}

static int saving_fill(struct kvm_engine *e, struct saving *s, struct error *err)
{
	int r = 0;

	segue__kvm_state__init(&s->message);
	if (e->frozen)
		s->clocks = e->clocks;
	else
		r = kvm_clocks_read(e, &s->clocks, err);
	for (unsigned i = 0; r == 0 && i < e->n_cpus; i++)
		r = cpu_save(e, s, i, err);
	if (r == 0)
		r = kvm_board_capture(e, &s->board, err);
	if (r < 0)
		return r;
	/* Ticks of the pause do not count: as it was when the clocks were frozen. */
	s->board.pit = s->clocks.pit;
	wire_board_put(&s->wire_board, &s->board, &s->message);
	cpuid_put_all(s, &e->cpuid);
	s->message.n_vcpus = e->n_cpus;
	s->message.vcpus = s->vcpu_list;
	s->message.tsc_khz = e->tsc_khz;
	s->message.kvmclock = s->clocks.kvmclock;
	return 0;
}

int kvm_save(struct engine *engine, struct buffer *state, struct error *err)
{
	struct kvm_engine *e = kvm_engine_of(engine);
	struct saving *s = calloc(1, sizeof(*s) + e->n_cpus * sizeof(s->wire[0]));
	int r;

	if (!s)
		return error_system(err, -ENOMEM, "the processors' state");
	r = saving_fill(e, s, err);
	if (r == 0 && buffer_pack(state, &s->message.base) < 0)
		r = error_system(err, -ENOMEM, "the processors' state");
	saving_free(s);
	return r;
}

/* A message taken apart and checked. */
struct loading {
	struct cpuid_table cpuid;
	struct kvm_board_state board;
	struct kvm_clocks clocks;
	struct kvm_cpu_state *cpus[KVM_VCPUS_MAX];
};

static void loading_free(struct loading *l)
{
	for (unsigned i = 0; l && i < KVM_VCPUS_MAX; i++)
		free(l->cpus[i]);
	free(l);
}

static int cpuid_get_all(struct cpuid_table *table, const Segue__KvmState *message,
			 struct error *err)
{
	if (!message->n_cpuid || message->n_cpuid > CPUID_ENTRIES_MAX)
		return error_set(err, -EPROTO, "%zu entries of CPUID: must be 1 to %u",
				 message->n_cpuid, CPUID_ENTRIES_MAX);
	for (size_t i = 0; i < message->n_cpuid; i++) {
		const Segue__KvmCpuid *from = message->cpuid[i];

		table->entries[i] = (struct kvm_cpuid_entry2){
			.function = from->function,
			.index = from->index,
			.flags = from->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = from->eax,
			.ebx = from->ebx,
			.ecx = from->ecx,
			.edx = from->edx,
		};
	}
	table->count = (unsigned)message->n_cpuid;
	return 0;
}

static int cpu_load(struct kvm_engine *e, struct loading *l, unsigned i,
		    const Segue__KvmVcpu *message, struct error *err)
{
	l->cpus[i] = kvm_cpu_state_new(e);
	if (!l->cpus[i])
		return error_system(err, -ENOMEM, "the state of vCPU %u", i);
	l->clocks.tsc[i] = message->tsc;
	l->clocks.tsc_deadline[i] = message->tsc_deadline;
	return wire_cpu_get(l->cpus[i], message, err);
}

static int loading_fill(struct kvm_engine *e, struct loading *l, const Segue__KvmState *message,
			struct error *err)
{
	int r;

	if (message->n_vcpus != e->n_cpus)
		return error_set(err, -EPROTO, "the state has %zu vCPUs, the guest %u",
				 message->n_vcpus, e->n_cpus);
	r = cpuid_get_all(&l->cpuid, message, err);
	if (r == 0)
		r = kvm_cpuid_check(e, &l->cpuid, message->tsc_khz, err);
	if (r == 0)
		r = wire_board_get(&l->board, message, err);
	for (unsigned i = 0; r == 0 && i < e->n_cpus; i++)
		r = cpu_load(e, l, i, message->vcpus[i], err);
	l->clocks.kvmclock = message->kvmclock;
	l->clocks.pit = l->board.pit;
	return r;
}

static bool cpuid_same(const struct cpuid_table *a, const struct cpuid_table *b)
{
	return a->count == b->count &&
	       !memcmp(a->entries, b->entries, a->count * sizeof(a->entries[0]));
}

/* Between equal hosts nothing changes, and the guest waits while this is done. */
static int cpuid_apply(struct kvm_engine *e, const struct cpuid_table *guest, struct error *err)
{
	if (cpuid_same(&e->cpuid, guest))
		return 0;
	e->cpuid = *guest;
	return kvm_cpuid_set(e, err);
}

/* Nothing has run yet, or KVM would not take another CPUID. */
static int loading_apply(struct kvm_engine *e, const struct loading *l, uint64_t tsc_khz,
			 struct error *err)
{
	int r = cpuid_apply(e, &l->cpuid, err);

	if (r == 0)
		r = kvm_tsc_rate_set(e, tsc_khz, err);
	if (r == 0)
		r = kvm_board_restore(e, &l->board, err);
	for (unsigned i = 0; r == 0 && i < e->n_cpus; i++)
		r = kvm_cpu_restore(e, i, l->cpus[i], err);
	if (r < 0)
		return r;
	e->clocks = l->clocks;
	e->frozen = true;
	return 0;
}

int kvm_load(struct engine *engine, const uint8_t *state, size_t len, struct error *err)
{
	struct kvm_engine *e = kvm_engine_of(engine);
	Segue__KvmState *message = segue__kvm_state__unpack(NULL, len, state);
	struct loading *l = calloc(1, sizeof(*l));
	int r;

	if (!message)
		r = error_set(err, -EPROTO, "the processors' state cannot be read");
	else if (!l)
		r = error_system(err, -ENOMEM, "the processors' state");
	else
		r = loading_fill(e, l, message, err);
	if (r == 0)
		r = loading_apply(e, l, message->tsc_khz, err);
	loading_free(l);
	if (message)
		segue__kvm_state__free_unpacked(message, NULL);
	return r;
}
