/* SPDX-License-Identifier: Apache-2.0 */
#include "test_kvm_guest.h"

/* The verdict on speed, from numbers. The loop is 200,000 iterations. */
static void test_verdict(void)
{
	/* Hardware: as fast as here. */
	CU_ASSERT_FALSE(kvm_speed_emulated(200000, 100000, 90000));
	/* Slow, but so is this host: a host that is itself emulated. */
	CU_ASSERT_FALSE(kvm_speed_emulated(200000, 60000000, 8000000));
	/* Far slower than here, but over too soon to tell. */
	CU_ASSERT_FALSE(kvm_speed_emulated(200000, 15000000, 90000));
	/* An interpreter that finished, and one that was stopped on the way. */
	CU_ASSERT_TRUE(kvm_speed_emulated(200000, 200000000, 90000));
	CU_ASSERT_TRUE(kvm_speed_emulated(80000, 250000000, 90000));
	/* One that stood still. */
	CU_ASSERT_TRUE(kvm_speed_emulated(0, 250000000, 90000));
}

/* Whatever the host, the probe answers in time, and says what a boot would find. */
static void test_probe(void)
{
	Segue__Guest guest = SEGUE__GUEST__INIT;
	struct error err = {0};
	sigset_t kick;

	/* A parent may have left the signal blocked. */
	sigemptyset(&kick);
	sigaddset(&kick, KVM_KICK_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &kick, NULL);
	/* That it comes back at all is the test: a hang ends by the suite's time-out. */
	int r = engine_find("kvm")->probe(&guest, &err);

	printf("(%d %s) ", r, err.text);
	CU_ASSERT_TRUE(r == 0 || r == -ENOTSUP);
	CU_ASSERT_EQUAL(r, err.code);
	guest.allow_emulation = true;
	CU_ASSERT_EQUAL(engine_find("kvm")->probe(&guest, NULL), 0);
}

/* A loop of our own, timed in another way, agrees with the probe. */
static void test_agrees(void)
{
	Segue__Guest config = SEGUE__GUEST__INIT;
	struct guest g;
	struct vcpu_exit exit;
	uint64_t from;
	bool slow;

	CU_ASSERT_EQUAL_FATAL(guest_make(&g, 1, 16 * MIB), 0);
	GUEST_CODE(&g, 0xb9, IMM32(20000), /* mov $20000, %ecx */
		   0xff, 0xc9,             /* 1: dec %ecx */
		   0x75, 0xfc,             /* jnz 1b */
		   0xe6, 0x99);            /* out %al, $0x99 */
	CU_ASSERT_EQUAL_FATAL(guest_boot(&g), 0);
	from = now_ns();
	guest_run(&g, 0, &exit);
	/* 40,000 instructions: 10 us of hardware, over 20 ms of interpreting. */
	slow = now_ns() - from > 10000000u;
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_PIO);
	CU_ASSERT_EQUAL(engine_find("kvm")->probe(&config, NULL) != 0, slow);
	guest_free(&g);
}

/* As a user who is not in the group, and with no device at all. */
static void test_no_permission(void)
{
	struct error err = {0};
	uid_t was = geteuid();

	if (was != 0 || seteuid(65534) < 0) {
		printf("(not root: left out) ");
		return;
	}
	int r = engine_find("kvm")->probe(NULL, &err);
	CU_ASSERT_EQUAL(seteuid(was), 0);
	if (r == 0 || r == -ENOTSUP) {
		printf("(everybody may open /dev/kvm here: left out) ");
		return;
	}
	CU_ASSERT_EQUAL(r, -EACCES);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "group kvm"));
}

int main(void)
{
	char why[128];
	bool none = guest_skip_reason(why, sizeof(why));

	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("kvm probe", NULL, NULL);
	CU_ADD_TEST(suite, test_verdict);
	if (none) {
		printf("the rest left out: %s\n", why);
	} else {
		CU_ADD_TEST(suite, test_probe);
		CU_ADD_TEST(suite, test_agrees);
		CU_ADD_TEST(suite, test_no_permission);
	}
	return guest_tests_run();
}
