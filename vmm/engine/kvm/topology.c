/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/kvm/cpumodel.h"

/*
 * What CPUID says of cores and caches: one socket, a core a vCPU, one thread a core, and a
 * last-level cache that all share. The APIC id is the vCPU's index.
 *
 * Intel SDM volume 2, CPUID leaves 1, 4, 0xb, 0x1f; AMD APM volume 3, E.4.7 (0x80000008),
 * E.4.15 (0x8000001d) and E.4.16 (0x8000001e).
 */
#define SUBLEAVES KVM_CPUID_FLAG_SIGNIFCANT_INDEX

struct cache {
	uint32_t type; /* 1 data, 2 instructions, 3 both */
	uint32_t level;
	uint32_t ways;
	uint32_t sets;
	bool shared;
};

/* A common server core of the last ten years; all have lines of 64 bytes. */
static const struct cache caches[] = {
	{.type = 1, .level = 1, .ways = 8, .sets = 64},                    /* 32 KiB */
	{.type = 2, .level = 1, .ways = 8, .sets = 64},                    /* 32 KiB */
	{.type = 3, .level = 2, .ways = 8, .sets = 1024},                  /* 512 KiB */
	{.type = 3, .level = 3, .ways = 16, .sets = 16384, .shared = true}, /* 16 MiB */
};
#define CACHES (sizeof(caches) / sizeof(caches[0]))

/* Bits of an APIC id that number the cores. */
static uint32_t id_bits(unsigned cpus)
{
	uint32_t bits = 0;

	while ((1u << bits) < cpus)
		bits++;
	return bits;
}

static int put(struct cpuid_table *table, uint32_t function, uint32_t index, uint32_t flags,
	       uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	struct kvm_cpuid_entry2 entry = {
		.function = function, .index = index, .flags = flags,
		.eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx,
	};

	return cpuid_put(table, &entry);
}

static void remove_leaf(struct cpuid_table *table, uint32_t function)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < table->count; i++) {
		if (table->entries[i].function != function)
			table->entries[kept++] = table->entries[i];
	}
	table->count = kept;
}

/* Leaf 4 and 0x8000001d alike; Intel's also counts the package's cores. */
static int caches_put(struct cpuid_table *table, uint32_t function, uint32_t cores_field,
		      unsigned cpus)
{
	int r = 0;

	remove_leaf(table, function);
	for (uint32_t i = 0; r == 0 && i < CACHES; i++) {
		const struct cache *c = &caches[i];
		uint32_t sharing = c->shared ? (1u << id_bits(cpus)) - 1 : 0;

		r = put(table, function, i, SUBLEAVES,
			c->type | c->level << 5 | 1u << 8 | sharing << 14 | cores_field,
			(c->ways - 1) << 22 | 63, c->sets - 1, 0);
	}
	return r == 0 ? put(table, function, CACHES, SUBLEAVES, 0, 0, 0, 0) : r;
}

/* The host's own caches, but shared by the guest's vCPUs, not the host's threads. */
static void caches_patch(struct cpuid_table *table, uint32_t function, uint32_t cores_field,
			 unsigned cpus)
{
	for (unsigned i = 0; i < table->count; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];
		uint32_t level = e->eax >> 5 & 7;
		uint32_t sharing = level >= 3 ? (1u << id_bits(cpus)) - 1 : 0;

		if (e->function == function && (e->eax & 0x1f))
			e->eax = (e->eax & 0x3fff) | sharing << 14 | cores_field;
	}
}

static int caches_fill(struct cpuid_table *table, unsigned cpus, bool replace)
{
	bool amd = cpuid_is_amd(table);
	uint32_t function = amd ? 0x8000001d : 4;
	uint32_t cores = amd ? 0 : ((1u << id_bits(cpus)) - 1) << 26;

	if (!replace) {
		caches_patch(table, function, cores, cpus);
		return 0;
	}
	/* Leaf 2: 0xff says "see leaf 4". */
	remove_leaf(table, 2);
	if (!amd && put(table, 2, 0, 0, 0x0000ff01, 0, 0, 0) < 0)
		return -1;
	return caches_put(table, function, cores, cpus);
}

/* Leaf 0xb: level 0 numbers threads in no bits, level 1 the cores. */
static int x2apic_levels(struct cpuid_table *table, unsigned cpus)
{
	int r;

	remove_leaf(table, 0x1f); /* would be looked at first */
	remove_leaf(table, 0xb);
	r = put(table, 0xb, 0, SUBLEAVES, 0, 1, 1u << 8 | 0, 0);
	if (r == 0)
		r = put(table, 0xb, 1, SUBLEAVES, id_bits(cpus), cpus, 2u << 8 | 1, 0);
	if (r == 0)
		r = put(table, 0xb, 2, SUBLEAVES, 0, 0, 2, 0);
	return r;
}

static void leaf_1(struct cpuid_table *table, unsigned cpus)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(table, 1, 0);

	if (!e)
		return;
	e->ebx = (e->ebx & 0xff) | 8u << 8 | (1u << id_bits(cpus)) << 16;
	e->edx &= ~(1u << 28);
	if (cpus > 1)
		e->edx |= 1u << 28;
}

/* cmp_legacy: more than one core; topoext: leaves 0x8000001d and 0x8000001e are there. */
static int amd_leaves(struct cpuid_table *table, unsigned cpus)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(table, 0x80000001, 0);

	if (e) {
		e->ecx = (e->ecx & ~(1u << 1)) | 1u << 22;
		if (cpus > 1)
			e->ecx |= 1u << 1;
	}
	e = cpuid_find(table, 0x80000008, 0);
	if (e)
		e->ecx = id_bits(cpus) << 12 | (cpus - 1);
	return put(table, 0x8000001e, 0, 0, 0, 0, 0, 0);
}

int topology_fill(struct cpuid_table *table, unsigned cpus, bool caches_too)
{
	int r = x2apic_levels(table, cpus);

	leaf_1(table, cpus);
	if (r == 0)
		r = caches_fill(table, cpus, caches_too);
	if (r == 0 && cpuid_is_amd(table))
		r = amd_leaves(table, cpus);
	return r;
}

void cpumodel_personalise(struct cpuid_table *table, unsigned cpu)
{
	for (unsigned i = 0; i < table->count; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | cpu << 24;
		else if (e->function == 0xb)
			e->edx = cpu;
		else if (e->function == 0x8000001e) {
			e->eax = cpu;
			e->ebx = cpu & 0xff; /* the core's id; threads a core, minus one, is 0 */
		}
	}
}
