/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_KVM_CPUMODEL_H
#define VMM_ENGINE_KVM_CPUMODEL_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/error.h"

/*
 * What processor a guest sees. Pure: tables in, a table out; no ioctl, no CPUID.
 */
#define CPUID_ENTRIES_MAX 256u /* KVM_MAX_CPUID_ENTRIES */

struct cpuid_table {
	unsigned count;
	struct kvm_cpuid_entry2 entries[CPUID_ENTRIES_MAX];
};

/* The entry of FUNCTION and INDEX, or NULL. */
struct kvm_cpuid_entry2 *cpuid_find(struct cpuid_table *table, uint32_t function, uint32_t index);
const struct kvm_cpuid_entry2 *cpuid_get(const struct cpuid_table *table, uint32_t function,
					 uint32_t index);
/* Adds an entry or replaces the one there is; -E2BIG when the table is full. */
int cpuid_put(struct cpuid_table *table, const struct kvm_cpuid_entry2 *entry);
/* Register REG (0 eax .. 3 edx), 0 when there is no such entry. */
uint32_t cpuid_reg(const struct cpuid_table *table, uint32_t function, uint32_t index,
		   unsigned reg);
void cpuid_vendor(const struct cpuid_table *table, char ret_vendor[13]);
/* AMD and Hygon number their leaves for topology and caches alike. */
bool cpuid_is_amd(const struct cpuid_table *table);
/* The state components the guest may enable in XCR0. */
uint64_t cpuid_xcr0(const struct cpuid_table *table);

/*
 * The table of MODEL ("host" or "x86-64-v2", -v3, -v4) with CPUS vCPUs, as vCPU 0 sees it,
 * on a host that gives HOST. -ENOTSUP when the host lacks something of the model, and the
 * text names it; -EINVAL for a model nobody knows.
 */
int cpumodel_make(const struct cpuid_table *host, const char *model, unsigned cpus,
		  struct cpuid_table *ret_table, struct error *err);

/* Sets what differs from vCPU to vCPU: the APIC id. */
void cpumodel_personalise(struct cpuid_table *table, unsigned cpu);

/* topology.c: one socket, CPUS cores, a thread each, one last-level cache. */
int topology_fill(struct cpuid_table *table, unsigned cpus, bool caches_too);

#endif
