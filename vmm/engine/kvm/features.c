/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/kvm/features.h"

#include <stdio.h>

#define BIT(n) (1u << (n))

/*
 * Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; for 0x40000001
 * Documentation/virt/kvm/x86/cpuid.rst. Names are those of /proc/cpuinfo.
 */
const struct feature_word feature_words[] = {
	{
		.function = 1, .reg = REG_ECX,
		.free = BIT(27) | BIT(31), /* osxsave mirrors CR4 */
		.names = {
			"pni", "pclmulqdq", "dtes64", "monitor", "ds_cpl", "vmx", "smx", "est",
			"tm2", "ssse3", "cid", "sdbg", "fma", "cx16", "xtpr", "pdcm",
			[17] = "pcid", "dca", "sse4_1", "sse4_2", "x2apic", "movbe", "popcnt",
			"tsc_deadline_timer", "aes", "xsave", "osxsave", "avx", "f16c", "rdrand",
			"hypervisor",
		},
	}, {
		.function = 1, .reg = REG_EDX,
		.free = BIT(28), /* ht tells of topology */
		.names = {
			"fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic",
			[11] = "sep", "mtrr", "pge", "mca", "cmov", "pat", "pse36", "pn", "clflush",
			[21] = "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht", "tm", "ia64",
			"pbe",
		},
	}, {
		.function = 6, .reg = REG_EAX,
		.names = {
			"dtherm", "ida", "arat", [4] = "pln", [6] = "pts", "hwp", "hwp_notify",
			"hwp_act_window", "hwp_epp", "hwp_pkg_req",
		},
	}, {
		.function = 7, .reg = REG_EBX,
		.names = {
			"fsgsbase", "tsc_adjust", "sgx", "bmi1", "hle", "avx2", "fdp_excptn_only",
			"smep", "bmi2", "erms", "invpcid", "rtm", "cqm", "zero_fcs_fds", "mpx",
			"rdt_a", "avx512f", "avx512dq", "rdseed", "adx", "smap", "avx512ifma",
			[23] = "clflushopt", "clwb", "intel_pt", "avx512pf", "avx512er", "avx512cd",
			"sha_ni", "avx512bw", "avx512vl",
		},
	}, {
		.function = 7, .reg = REG_ECX,
		.free = BIT(4), /* ospke mirrors CR4 */
		.names = {
			"prefetchwt1", "avx512vbmi", "umip", "pku", "ospke", "waitpkg",
			"avx512_vbmi2", "user_shstk", "gfni", "vaes", "vpclmulqdq", "avx512_vnni",
			"avx512_bitalg", "tme", "avx512_vpopcntdq", [16] = "la57", [22] = "rdpid",
			[24] = "bus_lock_detect", "cldemote", [27] = "movdiri", "movdir64b", "enqcmd",
			"sgx_lc",
		},
	}, {
		.function = 7, .reg = REG_EDX,
		.names = {
			[2] = "avx512_4vnniw", "avx512_4fmaps", "fsrm", "uintr",
			[8] = "avx512_vp2intersect", "srbds_ctrl", "md_clear", "rtm_always_abort",
			[14] = "serialize", "hybrid_cpu", "tsxldtrk", [18] = "pconfig", "arch_lbr",
			"ibt", [22] = "amx_bf16", "avx512_fp16", "amx_tile", "amx_int8", "spec_ctrl",
			"intel_stibp", "flush_l1d", "arch_capabilities", "core_capabilities", "ssbd",
		},
	}, {
		.function = 7, .index = 1, .reg = REG_EAX,
		.names = {
			"sha512", "sm3", "sm4", [4] = "avx_vnni", "avx512_bf16", "lass", "cmpccxadd",
			[10] = "fzrm", "fsrs", "fsrc", [17] = "fred", "lkgs", "wrmsrns", [21] = "amx_fp16",
			[23] = "avx_ifma", [26] = "lam",
		},
	}, {
		.function = 7, .index = 1, .reg = REG_EDX,
		.names = {
			[4] = "avx_vnni_int8", "avx_ne_convert", [8] = "amx_complex",
			[10] = "avx_vnni_int16", [14] = "prefetchiti", [19] = "avx10",
		},
	}, {
		.function = 7, .index = 2, .reg = REG_EDX,
		.names = {
			"intel_psfd", "ipred_ctrl", "rrsba_ctrl", "ddpd_u", "bhi_ctrl", "mcdt_no",
		},
	}, {
		.function = 0xd, .index = 1, .reg = REG_EAX,
		.names = {"xsaveopt", "xsavec", "xgetbv1", "xsaves", "xfd"},
	}, {
		.function = 0x80000001, .reg = REG_ECX,
		.free = BIT(1) | BIT(22), /* cmp_legacy and topoext tell of topology */
		.names = {
			"lahf_lm", "cmp_legacy", "svm", "extapic", "cr8_legacy", "abm", "sse4a",
			"misalignsse", "3dnowprefetch", "osvw", "ibs", "xop", "skinit", "wdt",
			[15] = "lwp", "fma4", "tce", [19] = "nodeid_msr", [21] = "tbm", "topoext",
			"perfctr_core", "perfctr_nb", [26] = "bpext", "ptsc", "perfctr_llc", "mwaitx",
		},
	}, {
		.function = 0x80000001, .reg = REG_EDX,
		.names = {
			"fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic",
			[11] = "syscall", "mtrr", "pge", "mca", "cmov", "pat", "pse36", [19] = "mp", "nx",
			[22] = "mmxext", "mmx", "fxsr", "fxsr_opt", "pdpe1gb", "rdtscp", [29] = "lm",
			"3dnowext", "3dnow",
		},
	}, {
		.function = 0x80000007, .reg = REG_EBX,
		.names = {"overflow_recov", "succor", [3] = "smca"},
	}, {
		.function = 0x80000007, .reg = REG_EDX,
		.names = {[7] = "hw_pstate", "invtsc", "cpb"},
	}, {
		.function = 0x80000008, .reg = REG_EBX,
		.names = {
			"clzero", "irperf", "xsaveerptr", [4] = "rdpru", [9] = "wbnoinvd",
			[12] = "amd_ibpb", [14] = "amd_ibrs", "amd_stibp", [17] = "amd_stibp_always_on",
			[19] = "ibrs_same_mode", [23] = "amd_ppin", "amd_ssbd", "virt_ssbd",
			"amd_ssb_no", [28] = "amd_psfd", "btc_no", "ibpb_ret",
		},
	}, {
		.function = 0x80000021, .reg = REG_EAX,
		.names = {
			"no_nested_data_bp", [2] = "lfence_rdtsc", [6] = "nscb", [8] = "autoibrs",
			[9] = "no_smm_ctl_msr", [17] = "epsf_rsvd", [24] = "prefetchi", [27] = "sbpb",
			"ibpb_brtype", "srso_no", "srso_user_kernel_no",
		},
	}, {
		.function = 0x40000001, .reg = REG_EAX,
		.names = {
			"kvmclock", "kvm_nopiodelay", "kvm_mmu", "kvmclock2", "kvm_asyncpf",
			"kvm_steal_time", "kvm_pv_eoi", "kvm_pv_unhalt", [9] = "kvm_pv_tlb_flush",
			"kvm_asyncpf_vmexit", "kvm_pv_ipi", "kvm_poll_control", "kvm_pv_sched_yield",
			"kvm_asyncpf_int", "kvm_msi_ext_dest_id", "kvm_hc_map_gpa_range",
			"kvm_migration_control", [24] = "kvmclock_stable",
		},
	},
};
const size_t feature_words_count = sizeof(feature_words) / sizeof(feature_words[0]);

const struct feature_word *feature_word_find(uint32_t function, uint32_t index, unsigned reg)
{
	for (size_t i = 0; i < feature_words_count; i++) {
		const struct feature_word *w = &feature_words[i];

		if (w->function == function && w->index == index && w->reg == reg)
			return w;
	}
	return NULL;
}

static void list_append(struct feature_list *list, const char *name)
{
	size_t room = sizeof(list->text) - list->len;
	int n;

	list->count++;
	if (room <= sizeof(", ..."))
		return;
	n = snprintf(list->text + list->len, room, "%s%s", list->len ? ", " : "", name);
	if ((size_t)n + sizeof(", ...") <= room)
		list->len += (size_t)n;
	else
		list->len += (size_t)snprintf(list->text + list->len, room, ", ...");
}

void feature_list_add(struct feature_list *list, uint32_t function, uint32_t index, unsigned reg,
		      uint32_t bits)
{
	static const char *const regs[] = {"eax", "ebx", "ecx", "edx"};
	const struct feature_word *w = feature_word_find(function, index, reg);

	for (unsigned bit = 0; bit < 32; bit++) {
		char number[64];

		if (!(bits & BIT(bit)))
			continue;
		snprintf(number, sizeof(number), "CPUID %x.%x %s bit %u", function, index,
			 regs[reg & 3], bit);
		list_append(list, w && w->names[bit] ? w->names[bit] : number);
	}
}
