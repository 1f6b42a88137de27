/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/contract.h"
#include "vmm/engine/kvm/cpumodel.h"
#include "vmm/engine/kvm/features.h"

/* CPU models, from made-up hosts; no KVM. */

static void put(struct cpuid_table *t, uint32_t function, uint32_t index, uint32_t eax,
		uint32_t ebx, uint32_t ecx, uint32_t edx)
{
	struct kvm_cpuid_entry2 e = {
		.function = function, .index = index, .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx,
		.flags = function == 4 || function == 7 || function == 0xd ? 1 : 0,
	};

	CU_ASSERT_EQUAL_FATAL(cpuid_put(t, &e), 0);
}

/* A host that has every feature there is. */
static void everything(struct cpuid_table *t, bool amd)
{
	memset(t, 0, sizeof(*t));
	if (amd)
		put(t, 0, 0, 0x10, 0x68747541, 0x444d4163, 0x69746e65);
	else
		put(t, 0, 0, 0x20, 0x756e6547, 0x6c65746e, 0x49656e69);
	put(t, 1, 0, 0x00a20f12, 0x05100800, ~0u, ~0u);
	put(t, 4, 0, 0x7c004121, 0x01c0003f, 0x3f, 0);
	put(t, 4, 3, 0x7c07c163, 0x03c0003f, 0x7fff, 0);
	put(t, 6, 0, 4, 0, 0, 0);
	put(t, 7, 0, 2, ~0u, ~0u, ~0u);
	put(t, 7, 1, ~0u, 0, 0, ~0u);
	put(t, 0xd, 0, 0x2e7, 0xa88, 0xa88, 0);
	put(t, 0xd, 1, 0xf, 0, 0, 0);
	put(t, 0xd, 2, 0x100, 0x240, 0, 0);
	put(t, 0xd, 5, 0x40, 0x440, 0, 0);
	put(t, 0xd, 6, 0x200, 0x480, 0, 0);
	put(t, 0xd, 7, 0x400, 0x680, 0, 0);
	put(t, 0xd, 9, 0x8, 0xa80, 0, 0);
	put(t, 0x14, 0, 1, 2, 3, 4);
	put(t, 0x1f, 0, 1, 2, 3, 4);
	put(t, 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	put(t, 0x40000001, 0, ~0u, 0, 0, 0);
	put(t, 0x80000000, 0, 0x80000021, 0, 0, 0);
	put(t, 0x80000001, 0, 0, 0, ~0u, ~0u);
	put(t, 0x80000002, 0, 0x20555043, 0, 0, 0);
	put(t, 0x80000007, 0, 0, 0, 0, 1u << 8);
	put(t, 0x80000008, 0, 0x3034, ~0u, 0, 0);
	put(t, 0x8000000a, 0, 1, 2, 3, 4);
}

static void make(const struct cpuid_table *host, const char *model, unsigned cpus,
		 struct cpuid_table *table)
{
	struct error err = {0};
	int r = cpumodel_make(host, model, cpus, table, &err);

	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	CU_ASSERT_EQUAL_FATAL(r, 0);
}

static bool has(const struct cpuid_table *t, uint32_t function, unsigned reg, unsigned bit)
{
	return cpuid_reg(t, function, 0, reg) >> bit & 1;
}

/* psABI "Micro-Architecture Levels", feature by feature. */
static void test_levels(void)
{
	struct cpuid_table host, v2, v3, v4;
	static const unsigned v2_ecx[] = {0, 9, 13, 19, 20, 23};
	static const unsigned v3_ecx[] = {12, 22, 26, 28, 29};
	static const unsigned v3_ebx[] = {3, 5, 8};
	static const unsigned v4_ebx[] = {16, 17, 28, 30, 31};

	everything(&host, false);
	make(&host, "x86-64-v2", 2, &v2);
	make(&host, "x86-64-v3", 2, &v3);
	make(&host, "x86-64-v4", 2, &v4);
	for (unsigned i = 0; i < 6; i++)
		CU_ASSERT_TRUE(has(&v2, 1, 2, v2_ecx[i]) && has(&v4, 1, 2, v2_ecx[i]));
	CU_ASSERT_TRUE(has(&v2, 0x80000001, 2, 0));
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_TRUE(!has(&v2, 1, 2, v3_ecx[i]) && has(&v3, 1, 2, v3_ecx[i]));
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_TRUE(!has(&v2, 7, 1, v3_ebx[i]) && has(&v3, 7, 1, v3_ebx[i]));
	CU_ASSERT_TRUE(!has(&v2, 0x80000001, 2, 5) && has(&v3, 0x80000001, 2, 5));
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT_TRUE(!has(&v3, 7, 1, v4_ebx[i]) && has(&v4, 7, 1, v4_ebx[i]));
	CU_ASSERT_EQUAL(cpuid_xcr0(&v2), 0);
	CU_ASSERT_EQUAL(cpuid_xcr0(&v3), 7);
	CU_ASSERT_EQUAL(cpuid_xcr0(&v4), 0xe7);
	CU_ASSERT_EQUAL(cpuid_reg(&v3, 0xd, 0, 2), 832);
	CU_ASSERT_EQUAL(cpuid_reg(&v4, 0xd, 0, 2), 0xa80);
	CU_ASSERT_EQUAL(cpuid_reg(&v3, 0xd, 9, 0), 0);
}

/* What a Linux guest wants everywhere, and what a named model never shows. */
static void test_everywhere(void)
{
	static const char *const models[] = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
	struct cpuid_table host, t;

	for (unsigned i = 0; i < 6; i++) {
		char vendor[13];

		everything(&host, i & 1);
		make(&host, models[i / 2], 1, &t);
		cpuid_vendor(&t, vendor);
		CU_ASSERT_STRING_EQUAL(vendor, i & 1 ? "AuthenticAMD" : "GenuineIntel");
		CU_ASSERT_TRUE(has(&t, 1, 2, 21));           /* x2apic */
		CU_ASSERT_TRUE(has(&t, 1, 2, 24));           /* tsc deadline */
		CU_ASSERT_TRUE(has(&t, 1, 2, 31));           /* hypervisor */
		CU_ASSERT_TRUE(has(&t, 0x40000001, 0, 3));   /* kvmclock */
		CU_ASSERT_TRUE(has(&t, 0x40000001, 0, 24));  /* stable */
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0x40000000, 0, 1), 0x4b4d564b);
		CU_ASSERT_FALSE(has(&t, 0x80000007, 3, 8));  /* invtsc */
		CU_ASSERT_FALSE(has(&t, 1, 2, 5));           /* vmx */
		CU_ASSERT_FALSE(has(&t, 0x80000001, 2, 2));  /* svm */
		CU_ASSERT_FALSE(has(&t, 7, 3, 29));          /* arch_capabilities */
		CU_ASSERT_FALSE(has(&t, 7, 2, 16));          /* la57 */
		CU_ASSERT_TRUE(has(&t, 7, 3, 26));           /* spec_ctrl, as the host has it */
		CU_ASSERT_TRUE(has(&t, 0x80000001, 3, 29));  /* long mode */
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0x80000008, 0, 0) & 0xffff, 0x3028);
		CU_ASSERT_EQUAL(cpuid_reg(&t, 7, 1, 0), 0);
		/* AMD's copy of leaf 1, and only AMD's. */
		CU_ASSERT_EQUAL(has(&t, 0x80000001, 3, 0), (bool)(i & 1));
		CU_ASSERT_EQUAL((cpuid_reg(&t, 1, 0, 0) >> 8 & 0xf), i & 1 ? 15 : 6);
	}
	everything(&host, true);
	cpuid_find(&host, 7, 0)->edx = 0;
	make(&host, "x86-64-v3", 1, &t);
	CU_ASSERT_FALSE(has(&t, 7, 3, 26));
}

/* The same model on two hosts that both have it is the same table, but for mitigations. */
static void test_level_is_level(void)
{
	struct cpuid_table big, small, a, b;
	uint32_t brand[4];

	everything(&big, false);
	small = big;
	cpuid_find(&small, 7, 0)->ebx = 0x000003ab; /* no AVX-512 and more */
	cpuid_find(&small, 7, 0)->ecx = 0;
	cpuid_find(&small, 0, 0)->eax = 0xd;
	cpuid_find(&small, 1, 0)->eax = 0x000306a9;
	cpuid_find(&small, 0x80000008, 0)->eax = 0x302e;
	make(&big, "x86-64-v3", 4, &a);
	make(&small, "x86-64-v3", 4, &b);
	CU_ASSERT_EQUAL(a.count, b.count);
	CU_ASSERT_EQUAL(memcmp(&a, &b, sizeof(a)), 0);
	for (unsigned i = 0; i < 4; i++)
		brand[i] = cpuid_reg(&a, 0x80000002, 0, i);
	CU_ASSERT_EQUAL(memcmp(brand, "Segue x86-64-v3 ", 16), 0);
}

static void test_refuses(void)
{
	struct cpuid_table host, t = {0};
	struct error err = {0};

	everything(&host, false);
	cpuid_find(&host, 7, 0)->ebx &= ~(1u << 16 | 1u << 30);
	CU_ASSERT_EQUAL(cpumodel_make(&host, "x86-64-v4", 1, &t, &err), -ENOTSUP);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "lacks avx512f, avx512bw, which CPU model x86-64-v4"));
	CU_ASSERT_EQUAL(t.count, 0);
	CU_ASSERT_EQUAL(cpumodel_make(&host, "x86-64-v3", 1, &t, NULL), 0);
	memset(&err, 0, sizeof(err));
	CU_ASSERT_EQUAL(cpumodel_make(&host, "x86-64-v9", 1, &t, &err), -EINVAL);
	CU_ASSERT_EQUAL(cpumodel_make(&host, "", 1, &t, NULL), -EINVAL);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "x86-64-v9"));

	/* The features are there, but not the state that goes with them. */
	everything(&host, false);
	cpuid_find(&host, 0xd, 0)->eax = 7;
	CU_ASSERT_EQUAL(cpumodel_make(&host, "x86-64-v4", 1, &t, NULL), -ENOTSUP);
	CU_ASSERT_EQUAL(cpumodel_make(&host, "x86-64-v3", 1, &t, NULL), 0);

	/* A host with next to nothing: the text is cut, not overrun. */
	memset(&host, 0, sizeof(host));
	put(&host, 0, 0, 1, 0x756e6547, 0x6c65746e, 0x49656e69);
	memset(&err, 0, sizeof(err));
	CU_ASSERT_EQUAL(cpumodel_make(&host, "x86-64-v4", 1, &t, &err), -ENOTSUP);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, ", ..., which CPU model"));
}

static void test_host(void)
{
	struct cpuid_table host, t;

	everything(&host, false);
	make(&host, "host", 2, &t);
	CU_ASSERT_TRUE(has(&t, 7, 1, 16));
	CU_ASSERT_TRUE(has(&t, 7, 2, 16));
	CU_ASSERT_TRUE(has(&t, 0x80000007, 3, 8));
	CU_ASSERT_FALSE(has(&t, 1, 2, 5));          /* vmx: nested state does not move */
	CU_ASSERT_FALSE(has(&t, 0x80000001, 2, 2)); /* svm */
	CU_ASSERT_FALSE(has(&t, 7, 1, 2));          /* sgx */
	CU_ASSERT_FALSE(has(&t, 7, 1, 25));         /* intel_pt */
	CU_ASSERT_PTR_NULL(cpuid_get(&t, 0x14, 0));
	CU_ASSERT_PTR_NULL(cpuid_get(&t, 0x1f, 0));
	CU_ASSERT_PTR_NULL(cpuid_get(&t, 0x8000000a, 0));
	CU_ASSERT_EQUAL(cpuid_reg(&t, 0x80000002, 0, 0), 0x20555043);
	CU_ASSERT_EQUAL(cpuid_reg(&t, 1, 0, 0), 0x00a20f12);
	CU_ASSERT_EQUAL(cpuid_xcr0(&t), 0x2e7);
	/* Its caches, shared by the guest's two cores instead of the host's 32. */
	CU_ASSERT_EQUAL(cpuid_reg(&t, 4, 3, 0), 0x04004163);
	CU_ASSERT_EQUAL(cpuid_reg(&t, 4, 3, 1), 0x03c0003f);
	CU_ASSERT_EQUAL(cpuid_reg(&t, 4, 0, 0), 0x04000121);
}

static void test_topology(void)
{
	static const struct {
		unsigned cpus, bits;
	} cases[] = {{1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {8, 3}};
	struct cpuid_table host, t, cpu;

	for (unsigned i = 0; i < 12; i++) {
		unsigned cpus = cases[i / 2].cpus, bits = cases[i / 2].bits;

		everything(&host, i & 1);
		make(&host, "x86-64-v2", cpus, &t);
		CU_ASSERT_EQUAL(has(&t, 1, 3, 28), cpus > 1);
		CU_ASSERT_EQUAL(cpuid_reg(&t, 1, 0, 1), (1u << bits) << 16 | 8 << 8);
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0xb, 0, 0), 0);
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0xb, 0, 1), 1);
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0xb, 0, 2), 0x100);
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0xb, 1, 0), bits);
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0xb, 1, 1), cpus);
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0xb, 1, 2), 0x201);
		if (i & 1) {
			CU_ASSERT_EQUAL(cpuid_reg(&t, 0x80000008, 0, 2), bits << 12 | (cpus - 1));
			CU_ASSERT_EQUAL(has(&t, 0x80000001, 2, 1), cpus > 1);
			CU_ASSERT_TRUE(has(&t, 0x80000001, 2, 22));
			CU_ASSERT_EQUAL(cpuid_reg(&t, 0x8000001d, 3, 0) >> 14, (1u << bits) - 1);
			CU_ASSERT_EQUAL(cpuid_reg(&t, 0x8000001d, 2, 0) >> 14, 0);
		} else {
			CU_ASSERT_EQUAL(cpuid_reg(&t, 4, 3, 0) >> 26, (1u << bits) - 1);
			CU_ASSERT_EQUAL(cpuid_reg(&t, 4, 3, 0) >> 14 & 0xfff, (1u << bits) - 1);
			CU_ASSERT_EQUAL(cpuid_reg(&t, 4, 0, 0) >> 14 & 0xfff, 0);
		}
		cpu = t;
		cpumodel_personalise(&cpu, cpus - 1);
		CU_ASSERT_EQUAL(cpuid_reg(&cpu, 1, 0, 1) >> 24, cpus - 1);
		for (unsigned level = 0; level < 3; level++)
			CU_ASSERT_EQUAL(cpuid_reg(&cpu, 0xb, level, 3), cpus - 1);
		if (i & 1) {
			CU_ASSERT_EQUAL(cpuid_reg(&cpu, 0x8000001e, 0, 0), cpus - 1);
			CU_ASSERT_EQUAL(cpuid_reg(&cpu, 0x8000001e, 0, 1), cpus - 1);
		}
		/* Leaves after the last say there is no more. */
		CU_ASSERT_EQUAL(cpuid_reg(&t, 0, 0, 0), 0xd);
	}
}

static void test_contract(void)
{
	struct cpuid_table host, guest;
	Segue__Contract contract = SEGUE__CONTRACT__INIT;
	Segue__CpuidWord words[3], *list[3] = {&words[0], &words[1], &words[2]};
	struct error err = {0};

	everything(&host, false);
	make(&host, "x86-64-v4", 1, &guest);
	for (unsigned i = 0; i < 3; i++)
		segue__cpuid_word__init(&words[i]);
	words[0].function = 7;
	words[0].reg = 1;
	words[0].bits = 1u << 16 | 1u << 30 | 1u << 5;
	words[1].function = 0xd;
	words[1].index = 5;
	words[1].reg = 1;
	words[1].bits = 0x440;
	contract.cpuid = list;
	contract.n_cpuid = 2;
	contract.cpu_model = (char *)"x86-64-v4";
	CU_ASSERT_EQUAL(contract_words_check(&host, &contract, &err), 0);
	/* The state's layout is compared, not tested for bits. */
	cpuid_find(&host, 0xd, 5)->ebx = 0x340;
	CU_ASSERT_EQUAL(contract_words_check(&host, &contract, &err), -ENOTSUP);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "XSAVE component 5"));
	cpuid_find(&host, 0xd, 5)->ebx = 0x440;
	cpuid_find(&host, 7, 0)->ebx = 1u << 5;
	memset(&err, 0, sizeof(err));
	CU_ASSERT_EQUAL(contract_words_check(&host, &contract, &err), -ENOTSUP);
	CU_ASSERT_STRING_EQUAL(err.text, "this host's processor lacks avx512f, avx512bw, which the "
					 "guest's CPU model x86-64-v4 has");
	/* A register that holds no features, and one that does not exist. */
	words[2].function = 0x1234;
	words[2].bits = 1;
	everything(&host, false);
	contract.n_cpuid = 3;
	CU_ASSERT_EQUAL(contract_words_check(&host, &contract, NULL), -ENOTSUP);
	words[2].function = 7;
	words[2].reg = 4;
	CU_ASSERT_EQUAL(contract_words_check(&host, &contract, NULL), -EPROTO);
}

static void test_names(void)
{
	struct feature_list list = {0};

	feature_list_add(&list, 1, 0, REG_ECX, 1u << 20 | 1u << 28);
	CU_ASSERT_STRING_EQUAL(list.text, "sse4_2, avx");
	feature_list_add(&list, 7, 0, REG_EDX, 1);
	CU_ASSERT_STRING_EQUAL(list.text, "sse4_2, avx, CPUID 7.0 edx bit 0");
	CU_ASSERT_EQUAL(list.count, 3);
	for (unsigned i = 0; i < 50; i++)
		feature_list_add(&list, 1, 0, REG_EDX, ~0u);
	CU_ASSERT_TRUE(strlen(list.text) < sizeof(list.text));
	CU_ASSERT_EQUAL(list.len, strlen(list.text));
	CU_ASSERT_EQUAL(list.count, 3 + 50 * 32);

	/* Spot checks against the kernel's numbering (cpufeatures.h: word, bit). */
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 0, REG_EBX)->names[31], "avx512vl");
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 0, REG_EBX)->names[23], "clflushopt");
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 0, REG_EBX)->names[8], "bmi2");
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 0, REG_ECX)->names[22], "rdpid");
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 0, REG_ECX)->names[14], "avx512_vpopcntdq");
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 0, REG_EDX)->names[31], "ssbd");
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 0, REG_EDX)->names[26], "spec_ctrl");
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 0, REG_EDX)->names[10], "md_clear");
	CU_ASSERT_STRING_EQUAL(feature_word_find(1, 0, REG_ECX)->names[31], "hypervisor");
	CU_ASSERT_STRING_EQUAL(feature_word_find(1, 0, REG_ECX)->names[23], "popcnt");
	CU_ASSERT_STRING_EQUAL(feature_word_find(1, 0, REG_EDX)->names[26], "sse2");
	CU_ASSERT_STRING_EQUAL(feature_word_find(0x80000001, 0, REG_EDX)->names[27], "rdtscp");
	CU_ASSERT_STRING_EQUAL(feature_word_find(0x80000001, 0, REG_ECX)->names[22], "topoext");
	CU_ASSERT_STRING_EQUAL(feature_word_find(0x80000008, 0, REG_EBX)->names[12], "amd_ibpb");
	CU_ASSERT_STRING_EQUAL(feature_word_find(0x40000001, 0, REG_EAX)->names[13],
			       "kvm_pv_sched_yield");
	CU_ASSERT_STRING_EQUAL(feature_word_find(7, 1, REG_EAX)->names[26], "lam");
}

static void test_table(void)
{
	struct cpuid_table t = {0};
	struct kvm_cpuid_entry2 e = {.function = 1, .eax = 5};

	CU_ASSERT_EQUAL(cpuid_put(&t, &e), 0);
	e.eax = 6;
	CU_ASSERT_EQUAL(cpuid_put(&t, &e), 0);
	CU_ASSERT_EQUAL(t.count, 1);
	CU_ASSERT_EQUAL(cpuid_reg(&t, 1, 0, 0), 6);
	CU_ASSERT_EQUAL(cpuid_reg(&t, 2, 0, 0), 0);
	CU_ASSERT_EQUAL(cpuid_reg(&t, 1, 0, 9), 0);
	for (uint32_t i = 0; i < CPUID_ENTRIES_MAX; i++) {
		e.function = 100 + i;
		CU_ASSERT_EQUAL(cpuid_put(&t, &e), i == CPUID_ENTRIES_MAX - 1 ? -E2BIG : 0);
	}
	CU_ASSERT_EQUAL(t.count, CPUID_ENTRIES_MAX);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("CPU models", NULL, NULL);
	CU_ADD_TEST(suite, test_levels);
	CU_ADD_TEST(suite, test_everywhere);
	CU_ADD_TEST(suite, test_level_is_level);
	CU_ADD_TEST(suite, test_refuses);
	CU_ADD_TEST(suite, test_host);
	CU_ADD_TEST(suite, test_topology);
	CU_ADD_TEST(suite, test_contract);
	CU_ADD_TEST(suite, test_names);
	CU_ADD_TEST(suite, test_table);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	int failed = CU_get_number_of_failures() != 0;
	CU_cleanup_registry();
	return failed;
}
