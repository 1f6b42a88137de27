/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/kvm/cpumodel.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/engine/kvm/features.h"

/*
 * The levels of the x86-64 psABI ("Micro-Architecture Levels", section 3.1.1), each with
 * what every server processor of that level has and a Linux kernel makes use of. All a
 * model has is required of the host: a guest that asks for a level sees the same bits on
 * every host, but for the mitigations below.
 */
#define BIT(n) (1u << (n))
#define ALL    0xffu /* every level; else a level's own and those above it */

struct level_bits {
	unsigned level;
	uint32_t function, index;
	enum cpuid_register reg;
	uint32_t bits;
};

#define EDX1_BASE                                                                              \
	(BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) |      \
	 BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(19) |       \
	 BIT(23) | BIT(24) | BIT(25) | BIT(26))

static const struct level_bits levels[] = {
	/* fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr
	 * sse sse2; syscall nx lm */
	{2, 1, 0, REG_EDX, EDX1_BASE},
	{2, 0x80000001, 0, REG_EDX, BIT(11) | BIT(20) | BIT(29)},
	/* pni ssse3 cx16 sse4_1 sse4_2 popcnt; x2apic tsc_deadline_timer hypervisor */
	{2, 1, 0, REG_ECX, BIT(0) | BIT(9) | BIT(13) | BIT(19) | BIT(20) | BIT(23)},
	{2, 1, 0, REG_ECX, BIT(21) | BIT(24) | BIT(31)},
	{2, 0x80000001, 0, REG_ECX, BIT(0)}, /* lahf_lm */
	{2, 6, 0, REG_EAX, BIT(2)},          /* arat: the local APIC's timer never stops */
	{2, 7, 0, REG_EBX, BIT(1)},          /* tsc_adjust */
	/* kvmclock, nopiodelay, kvmclock2, steal time, pv_eoi, pv_unhalt, tlb flush, ipi,
	 * sched yield, stable kvmclock. Not asyncpf: guest memory here is not swapped, and a
	 * wait for a page would be one more thing in flight when the guest moves. */
	{2, 0x40000001, 0, REG_EAX, BIT(0) | BIT(1) | BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(9) |
				    BIT(11) | BIT(13) | BIT(24)},
	/* fma movbe xsave avx f16c; pclmulqdq aes rdrand */
	{3, 1, 0, REG_ECX, BIT(12) | BIT(22) | BIT(26) | BIT(28) | BIT(29)},
	{3, 1, 0, REG_ECX, BIT(1) | BIT(25) | BIT(30)},
	/* bmi1 avx2 bmi2; fsgsbase smep erms */
	{3, 7, 0, REG_EBX, BIT(3) | BIT(5) | BIT(8)},
	{3, 7, 0, REG_EBX, BIT(0) | BIT(7) | BIT(9)},
	{3, 0x80000001, 0, REG_ECX, BIT(5)}, /* abm: lzcnt */
	{3, 0x80000001, 0, REG_EDX, BIT(26) | BIT(27)}, /* pdpe1gb rdtscp */
	{3, 0xd, 1, REG_EAX, BIT(0)}, /* xsaveopt */
	/* avx512 f dq cd bw vl; rdseed adx smap clflushopt clwb invpcid */
	{4, 7, 0, REG_EBX, BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31)},
	{4, 7, 0, REG_EBX, BIT(10) | BIT(18) | BIT(19) | BIT(20) | BIT(23) | BIT(24)},
	{4, 1, 0, REG_ECX, BIT(17)}, /* pcid */
	{4, 0xd, 1, REG_EAX, BIT(1) | BIT(2)}, /* xsavec xgetbv1 */
};

/*
 * Shown where the host has them: what a kernel needs to protect itself from speculation.
 * They come with microcode rather than with a level; the guest keeps what it was shown
 * first, and the contract asks a destination for it.
 */
static const struct level_bits mitigations[] = {
	{2, 7, 0, REG_EDX, BIT(10) | BIT(26) | BIT(27) | BIT(31)},
	{2, 0x80000008, 0, REG_EBX, BIT(12) | BIT(14) | BIT(15) | BIT(17) | BIT(24)},
};

/* What a guest never sees, "host" or not, because its state would not move with it. */
static const struct level_bits hidden[] = {
	/* monitor vmx smx est pdcm (PEBS and its like) */
	{ALL, 1, 0, REG_ECX, BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(15)},
	{ALL, 7, 0, REG_EBX, BIT(2) | BIT(25)}, /* sgx intel_pt */
	{ALL, 7, 0, REG_ECX, BIT(29) | BIT(30)}, /* enqcmd sgx_lc */
	{ALL, 7, 0, REG_EDX, BIT(19)}, /* arch_lbr */
	{ALL, 0x80000001, 0, REG_ECX, BIT(2) | BIT(12)}, /* svm skinit */
};

/* Leaves of these are the host's affair: SGX, tracing, the PMU, SVM, SEV, and topology. */
static const uint32_t dropped[] = {0xa,  0x12, 0x14, 0x1b, 0x1c, 0x1f, 0x8000000a,
				   0x8000001b, 0x8000001c, 0x8000001f, 0x80000020, 0x80000022,
				   0x80000026};

struct identity {
	uint32_t family_model; /* leaf 1 EAX */
	const char *name;
};

/* Processors that had the level early; a kernel picks work-arounds by these numbers. */
static const struct identity intel[] = {
	[2] = {0x000106a3, "Segue x86-64-v2 processor"}, /* family 6, model 26: Nehalem */
	[3] = {0x000306c3, "Segue x86-64-v3 processor"}, /* model 60: Haswell */
	[4] = {0x00050654, "Segue x86-64-v4 processor"}, /* model 85: Skylake-SP */
};
static const struct identity amd[] = {
	[2] = {0x00800f12, "Segue x86-64-v2 processor"}, /* family 23, model 1: Zen */
	[3] = {0x00800f12, "Segue x86-64-v3 processor"},
	[4] = {0x00a10f11, "Segue x86-64-v4 processor"}, /* family 25, model 17: Zen 4 */
};

#define LEVEL_HOST 0u

static int model_level(const char *model, unsigned *ret_level)
{
	if (!strcmp(model, "host"))
		*ret_level = LEVEL_HOST;
	else if (!strcmp(model, "x86-64-v2"))
		*ret_level = 2;
	else if (!strcmp(model, "x86-64-v3"))
		*ret_level = 3;
	else if (!strcmp(model, "x86-64-v4"))
		*ret_level = 4;
	else
		return -EINVAL;
	return 0;
}

static bool has_subleaves(uint32_t function)
{
	return function == 4 || function == 7 || function == 0xb || function == 0xd ||
	       function == 0x8000001d;
}

static uint32_t *entry_reg(struct kvm_cpuid_entry2 *e, enum cpuid_register reg)
{
	switch (reg) {
	case REG_EAX:
		return &e->eax;
	case REG_EBX:
		return &e->ebx;
	case REG_ECX:
		return &e->ecx;
	default:
		return &e->edx;
	}
}

/* The entry, made empty if it is not there yet; NULL when the table is full. */
static struct kvm_cpuid_entry2 *entry_want(struct cpuid_table *table, uint32_t function,
					   uint32_t index)
{
	struct kvm_cpuid_entry2 fresh = {
		.function = function, .index = index,
		.flags = has_subleaves(function) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
	};

	if (!cpuid_find(table, function, index) && cpuid_put(table, &fresh) < 0)
		return NULL;
	return cpuid_find(table, function, index);
}

static void put(struct cpuid_table *table, uint32_t function, uint32_t eax, uint32_t ebx,
		uint32_t ecx, uint32_t edx)
{
	struct kvm_cpuid_entry2 *e = entry_want(table, function, 0);

	if (!e)
		return;
	e->eax = eax;
	e->ebx = ebx;
	e->ecx = ecx;
	e->edx = edx;
}

static void bits_set(struct cpuid_table *table, const struct level_bits *b, uint32_t bits)
{
	struct kvm_cpuid_entry2 *e = entry_want(table, b->function, b->index);

	if (e)
		*entry_reg(e, b->reg) |= bits;
}

static int required_fill(const struct cpuid_table *host, const char *model, unsigned level,
			 struct cpuid_table *table, struct error *err)
{
	struct feature_list missing = {0};

	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		const struct level_bits *b = &levels[i];
		uint32_t has = cpuid_reg(host, b->function, b->index, b->reg);

		if (b->level > level)
			continue;
		bits_set(table, b, b->bits);
		feature_list_add(&missing, b->function, b->index, b->reg, b->bits & ~has);
	}
	if (!missing.count)
		return 0;
	return error_set(err, -ENOTSUP,
			 "this host's processor lacks %s, which CPU model %s has; choose a lower "
			 "model, or \"host\" for a guest that moves between equal hosts only",
			 missing.text, model);
}

static void mitigations_fill(const struct cpuid_table *host, struct cpuid_table *table)
{
	for (size_t i = 0; i < sizeof(mitigations) / sizeof(mitigations[0]); i++) {
		const struct level_bits *b = &mitigations[i];

		bits_set(table, b, b->bits & cpuid_reg(host, b->function, b->index, b->reg));
	}
}

/* Leaves 0x80000002 to 4: 48 bytes of text. */
static void brand_put(struct cpuid_table *table, const char *name)
{
	uint32_t words[12] = {0};

	snprintf((char *)words, sizeof(words), "%s", name);
	for (uint32_t i = 0; i < 3; i++)
		put(table, 0x80000002 + i, words[i * 4], words[i * 4 + 1], words[i * 4 + 2],
		    words[i * 4 + 3]);
}

/* Leaf 0xd: the components of XCR0 in the host's layout, which is the vendor's. */
static void xsave_fill(const struct cpuid_table *host, uint64_t xcr0, struct cpuid_table *table)
{
	struct kvm_cpuid_entry2 *e = entry_want(table, 0xd, 0);
	uint32_t size = 576; /* legacy region and header, SDM volume 1, 13.4 */

	for (uint32_t i = 2; i < 63; i++) {
		const struct kvm_cpuid_entry2 *part = cpuid_get(host, 0xd, i);

		if (!(xcr0 >> i & 1) || !part)
			continue;
		cpuid_put(table, part);
		if (part->eax + part->ebx > size)
			size = part->eax + part->ebx;
	}
	if (!e)
		return;
	e->eax = (uint32_t)xcr0;
	e->edx = (uint32_t)(xcr0 >> 32);
	e->ebx = e->ecx = size; /* KVM keeps EBX current as the guest sets XCR0 */
}

/* SDM volume 1, 13.1: x87, SSE, AVX; opmask and both halves of ZMM. */
static uint64_t level_xcr0(unsigned level)
{
	return level >= 4 ? 0xe7 : level == 3 ? 0x7 : 0;
}

static int xcr0_check(const struct cpuid_table *host, const char *model, uint64_t xcr0,
		      struct error *err)
{
	uint64_t lacking = xcr0 & ~cpuid_xcr0(host);

	if (!lacking)
		return 0;
	return error_set(err, -ENOTSUP,
			 "this host saves no processor state of components 0x%llx, which CPU "
			 "model %s has", (unsigned long long)lacking, model);
}

/*
 * Address widths: 48 bits linear, 40 physical: what every host has or can be told of. AMD
 * repeats leaf 1's EDX in 0x80000001 (APM volume 3, E.4.2).
 */
static void identity_fill(const struct cpuid_table *host, unsigned level,
			  struct cpuid_table *table)
{
	bool is_amd = cpuid_is_amd(host);
	const struct identity *id = is_amd ? &amd[level] : &intel[level];

	put(table, 0, 0xd, cpuid_reg(host, 0, 0, 1), cpuid_reg(host, 0, 0, 2),
	    cpuid_reg(host, 0, 0, 3));
	put(table, 0x80000000, is_amd ? 0x8000001e : 0x80000008, is_amd ? cpuid_reg(host, 0, 0, 1) : 0,
	    is_amd ? cpuid_reg(host, 0, 0, 2) : 0, is_amd ? cpuid_reg(host, 0, 0, 3) : 0);
	put(table, 0x40000000, 0x40000001, cpuid_reg(host, 0x40000000, 0, 1),
	    cpuid_reg(host, 0x40000000, 0, 2), cpuid_reg(host, 0x40000000, 0, 3));
	entry_want(table, 1, 0)->eax = id->family_model;
	entry_want(table, 0x80000008, 0)->eax = 0x3028;
	if (is_amd)
		entry_want(table, 0x80000001, 0)->edx |=
			cpuid_reg(table, 1, 0, REG_EDX) & 0x0183f3ff;
	brand_put(table, id->name);
}

/* The same caches as topology.c, in AMD's older form (APM volume 3, E.4.4 and E.4.5). */
static void old_caches_fill(struct cpuid_table *table)
{
	uint32_t l1 = 32u << 24 | 8u << 16 | 1u << 8 | 64;

	if (cpuid_is_amd(table))
		put(table, 0x80000005, 0, 0, l1, l1);
	put(table, 0x80000006, 0, 0, 512u << 16 | 6u << 12 | 1u << 8 | 64,
	    cpuid_is_amd(table) ? 32u << 18 | 8u << 12 | 1u << 8 | 64 : 0);
}

static int named_make(const struct cpuid_table *host, const char *model, unsigned level,
		      struct cpuid_table *table, struct error *err)
{
	uint64_t xcr0 = level_xcr0(level);
	int r = required_fill(host, model, level, table, err);

	if (r == 0)
		r = xcr0_check(host, model, xcr0, err);
	if (r < 0)
		return r;
	mitigations_fill(host, table);
	if (xcr0)
		xsave_fill(host, xcr0, table);
	identity_fill(host, level, table);
	old_caches_fill(table);
	return 0;
}

static bool is_dropped(uint32_t function)
{
	for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
		if (dropped[i] == function)
			return true;
	}
	return false;
}

static void host_make(const struct cpuid_table *host, struct cpuid_table *table)
{
	for (unsigned i = 0; i < host->count; i++) {
		if (!is_dropped(host->entries[i].function))
			table->entries[table->count++] = host->entries[i];
	}
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
		struct kvm_cpuid_entry2 *e =
			cpuid_find(table, hidden[i].function, hidden[i].index);

		if (e)
			*entry_reg(e, hidden[i].reg) &= ~hidden[i].bits;
	}
	/* Topology is told by leaf 0xb; KVM does not always tell the name. */
	if (cpuid_reg(table, 0, 0, REG_EAX) < 0xb)
		entry_want(table, 0, 0)->eax = 0xb;
	if (!cpuid_reg(table, 0x80000002, 0, REG_EAX))
		brand_put(table, "Segue host processor");
}

int cpumodel_make(const struct cpuid_table *host, const char *model, unsigned cpus,
		  struct cpuid_table *ret_table, struct error *err)
{
	struct cpuid_table table = {0};
	unsigned level;
	int r = model_level(model, &level);

	if (r < 0)
		return error_set(err, r,
				 "CPU model \"%s\" is not known: use x86-64-v2, x86-64-v3, "
				 "x86-64-v4 or host", model);
	if (level == LEVEL_HOST)
		host_make(host, &table);
	else
		r = named_make(host, model, level, &table, err);
	if (r < 0)
		return r;
	if (topology_fill(&table, cpus, level != LEVEL_HOST) < 0)
		return error_set(err, -E2BIG, "CPU model %s has too many CPUID leaves", model);
	*ret_table = table;
	return 0;
}
