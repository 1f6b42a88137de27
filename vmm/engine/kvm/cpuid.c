/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "vmm/engine/kvm/cpumodel.h"

const struct kvm_cpuid_entry2 *cpuid_get(const struct cpuid_table *table, uint32_t function,
					 uint32_t index)
{
	for (unsigned i = 0; i < table->count; i++) {
		const struct kvm_cpuid_entry2 *e = &table->entries[i];

		if (e->function == function && e->index == index)
			return e;
	}
	return NULL;
}

struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *table, uint32_t function, uint32_t index)
{
	return (struct kvm_cpuid_entry2 *)cpuid_get(table, function, index);
}

int cpuid_put(struct cpuid_table *table, const struct kvm_cpuid_entry2 *entry)
{
	struct kvm_cpuid_entry2 *at = cpuid_find(table, entry->function, entry->index);

	if (!at) {
		if (table->count == CPUID_ENTRIES_MAX)
			return -E2BIG;
		at = &table->entries[table->count++];
	}
	*at = *entry;
	return 0;
}

uint32_t cpuid_reg(const struct cpuid_table *table, uint32_t function, uint32_t index,
		   unsigned reg)
{
	const struct kvm_cpuid_entry2 *e = cpuid_get(table, function, index);

	if (!e)
		return 0;
	switch (reg) {
	case 0:
		return e->eax;
	case 1:
		return e->ebx;
	case 2:
		return e->ecx;
	case 3:
		return e->edx;
	default:
		return 0;
	}
}

void cpuid_vendor(const struct cpuid_table *table, char ret_vendor[13])
{
	/* SDM volume 2, CPUID, leaf 0: the text is in EBX, EDX, ECX. */
	uint32_t words[3] = {
		cpuid_reg(table, 0, 0, 1),
		cpuid_reg(table, 0, 0, 3),
		cpuid_reg(table, 0, 0, 2),
	};

	memcpy(ret_vendor, words, sizeof(words));
	ret_vendor[12] = 0;
}

bool cpuid_is_amd(const struct cpuid_table *table)
{
	char vendor[13];

	cpuid_vendor(table, vendor);
	return !strcmp(vendor, "AuthenticAMD") || !strcmp(vendor, "HygonGenuine");
}

uint64_t cpuid_xcr0(const struct cpuid_table *table)
{
	return (uint64_t)cpuid_reg(table, 0xd, 0, 3) << 32 | cpuid_reg(table, 0xd, 0, 0);
}
