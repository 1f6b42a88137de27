/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pv_guest.h"

/* The paravirtual engine, with a guest kernel that does as it is told (pv_guest.h). */
#define MS 1000000ull

static struct guest g;

static void begin(void)
{
	guest_create(&g);
	guest_boot(&g);
	guest_go(&g);
}

static void end(void)
{
	guest_destroy(&g);
}

static int64_t op(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	return guest_op(&g, nr, a, b, c, d);
}

static int64_t call(uint64_t nr, uint64_t a, uint64_t b, uint64_t c)
{
	return guest_op(&g, nr, a, b, c, 0);
}

#define KERNEL_PAGE (SEGUE_PV_PTE_P | SEGUE_PV_PTE_A)
#define ALL         (KERNEL_PAGE | SEGUE_PV_PTE_W | SEGUE_PV_PTE_D | SEGUE_PV_PTE_X)
#define VA          0x4000000000ull /* far above the direct map */

static void test_start(void)
{
	struct segue_pv_vcpu *page;
	struct segue_pv_boot *boot;

	begin();
	CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
	CU_ASSERT_EQUAL(guest_notes(&g)->boot, DIRECT(GUEST_BOOT));
	page = guest_page(&g);
	boot = guest_at(&g, GUEST_BOOT);
	CU_ASSERT_EQUAL(page->masked, 1);
	CU_ASSERT_EQUAL(page->pending, 0);
	CU_ASSERT(boot->xsave_size >= 576 && boot->xsave_size <= SEGUE_PV_XSAVE_MAX);
	CU_ASSERT(page->clock.mul != 0);
	CU_ASSERT_EQUAL(page->clock.sequence % 2, 0);
	end();
}

static void test_wrong_calls(void)
{
	begin();
	CU_ASSERT_EQUAL(call(SEGUE_PV_CALL_LAST + 1, 0, 0, 0), -ENOSYS);
	CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET - 1, 0, 0, 0), -ENOSYS);
	CU_ASSERT_EQUAL(call(59, 0, 0, 0), -ENOSYS); /* execve() of a host */
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_ENTRIES, ~0ull, 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_KERNEL_ROOT, 1, 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_KERNEL_ROOT, GUEST_RAM, 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_KERNEL_ROOT, ~0ull, 0, 0), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_FLUSH, ~0ull, 2, 1), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_FLUSH, ~0ull, 0, ~0ull), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_FLUSH, 0x123, 0, ~0ull), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_DROP_ROOT, 0x123, 0, 0), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_CONTEXT_CREATE, GUEST_RAM, 1, 0), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_CONTEXT_CREATE, 0, 1u << 22, 0), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_CONTEXT_DESTROY, 1, 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_ENTER_USER, 1, 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_GET_USER, ~0ull, 0, 0), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_IO_READ, 2, 0, 1), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_IO_READ, 0, 0, 3), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_IO_READ, 1, 0xffff, 2), -EINVAL);
	CU_ASSERT_EQUAL(call(SEGUE_PV_PRINT, GUEST_RAM - 1, 2, 0), -EFAULT);
	CU_ASSERT_EQUAL(call(SEGUE_PV_PRINT, ~0ull, ~0ull, 0), -EFAULT);
	CU_ASSERT_EQUAL(call(SEGUE_PV_END, 3, 0, 0), -EINVAL);
	/* The upper half of RAX does not count. */
	CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET | 7ull << 32, 0, 0, 0), SEGUE_PV_VERSION);
	end();
}

static void test_io(void)
{
	static const char text[] = "hello from the kernel";
	uint64_t value;
	int fd = eventfd(0, EFD_NONBLOCK);

	begin();
	memcpy(guest_at(&g, GUEST_FREE), text, sizeof(text) - 1);
	CU_ASSERT_EQUAL(call(SEGUE_PV_PRINT, GUEST_FREE, sizeof(text) - 1, 0), 0);
	CU_ASSERT_STRING_EQUAL(g.text, text);
	CU_ASSERT_EQUAL(call(SEGUE_PV_IO_READ, SEGUE_PV_MEMORY, 0xfe000070, 4), 0x44332211);
	CU_ASSERT_EQUAL(g.io_address, 0xfe000070);
	CU_ASSERT_EQUAL(call(SEGUE_PV_IO_READ, SEGUE_PV_PORTS, 0x3fd, 1), 0x11);
	CU_ASSERT_EQUAL(op(SEGUE_PV_IO_WRITE, SEGUE_PV_MEMORY, 0xfe000074, 2, 0x12345678), 0);
	CU_ASSERT_EQUAL(g.io_value, 0x5678);
	CU_ASSERT_EQUAL(g.io_len, 2);

	/* A doorbell rings and nothing is handed out. */
	CU_ASSERT_EQUAL(engine_pv.notify_add(g.engine, 0xfe000050, 4, 3, fd), 0);
	CU_ASSERT_EQUAL(engine_pv.notify_add(g.engine, 0xfe000050, 4, 3, fd), -EEXIST);
	CU_ASSERT_EQUAL(op(SEGUE_PV_IO_WRITE, SEGUE_PV_MEMORY, 0xfe000050, 4, 3), 0);
	CU_ASSERT_EQUAL(g.ios, 3);
	CU_ASSERT_EQUAL(read(fd, &value, 8), 8);
	CU_ASSERT_EQUAL(op(SEGUE_PV_IO_WRITE, SEGUE_PV_MEMORY, 0xfe000050, 4, 2), 0);
	CU_ASSERT_EQUAL(g.ios, 4);
	CU_ASSERT_EQUAL(engine_pv.notify_remove(g.engine, 0xfe000050, 4, 3, fd), 0);
	CU_ASSERT_EQUAL(engine_pv.notify_remove(g.engine, 0xfe000050, 4, 3, fd), -ENOENT);
	CU_ASSERT_EQUAL(op(SEGUE_PV_IO_WRITE, SEGUE_PV_MEMORY, 0xfe000050, 4, 3), 0);
	CU_ASSERT_EQUAL(g.ios, 5);
	end();
	close(fd);
}

extern const uint8_t pv_kernel[], pv_kernel_event[], pv_kernel_trap[];

static void set_entries(void)
{
	uint64_t base = DIRECT(GUEST_KERNEL);

	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_ENTRIES, base + (uint64_t)(pv_kernel_event - pv_kernel),
			     base + (uint64_t)(pv_kernel_trap - pv_kernel), 0), 0);
}

static void expect_trap(unsigned vector, uint32_t error, uint64_t address)
{
	struct guest_notes *notes = guest_notes(&g);

	CU_ASSERT_EQUAL(notes->trap.vector, vector);
	CU_ASSERT_EQUAL(notes->trap.error, error);
	CU_ASSERT_EQUAL(notes->trap.address, address);
}

static void test_kernel_faults(void)
{
	struct guest_notes *notes;
	uint64_t root;

	begin();
	notes = guest_notes(&g);
	set_entries();
	CU_ASSERT_EQUAL(op(OP_LOAD, 0x10, 0, 0, 0), -1);
	expect_trap(SEGUE_PV_VECTOR_PF, 0, 0x10);
	CU_ASSERT_EQUAL(op(OP_LOAD, DIRECT(GUEST_RAM), 0, 0, 0), -1);
	expect_trap(SEGUE_PV_VECTOR_PF, 0, DIRECT(GUEST_RAM));
	CU_ASSERT_EQUAL(op(OP_STORE, VA, 1, 0, 0), -1);
	expect_trap(SEGUE_PV_VECTOR_PF, SEGUE_PV_PF_WRITE, VA);
	CU_ASSERT_EQUAL(op(OP_RAISE, 0, 0, 0, 0), -1);
	expect_trap(SEGUE_PV_VECTOR_UD, 0, 0);
	CU_ASSERT_EQUAL(notes->traps, 4);
	CU_ASSERT_EQUAL(notes->frame % 16, 0);

	root = guest_root(&g);
	*(uint64_t *)guest_at(&g, GUEST_FREE) = 0x1234567890ull;
	guest_map(&g, root, VA, GUEST_FREE, KERNEL_PAGE);
	guest_map(&g, root, VA + 0x1000, GUEST_FREE, ALL);
	guest_map(&g, root, VA + 0x2000, GUEST_RAM, ALL); /* nowhere */
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_KERNEL_ROOT, root, 0, 0), 0);
	CU_ASSERT_EQUAL(op(OP_LOAD, VA, 0, 0, 0), 0x1234567890ll);
	CU_ASSERT_EQUAL(op(OP_STORE, VA, 1, 0, 0), -1);
	expect_trap(SEGUE_PV_VECTOR_PF, SEGUE_PV_PF_PRESENT | SEGUE_PV_PF_WRITE, VA);
	CU_ASSERT_EQUAL(op(OP_GO, VA, 0, 0, 0), -1);
	expect_trap(SEGUE_PV_VECTOR_PF, SEGUE_PV_PF_PRESENT | SEGUE_PV_PF_FETCH, VA);
	CU_ASSERT_EQUAL(op(OP_STORE, VA + 0x1000, 77, 0, 0), 0);
	CU_ASSERT_EQUAL(op(OP_LOAD, VA, 0, 0, 0), 77);
	CU_ASSERT_EQUAL(op(OP_LOAD, VA + 0x2000, 0, 0, 0), -1);
	CU_ASSERT_EQUAL(notes->traps, 7);

	/* What was used stays in force until the flush. */
	guest_map(&g, root, VA, GUEST_FREE + 0x1000, KERNEL_PAGE);
	*(uint64_t *)guest_at(&g, GUEST_FREE + 0x1000) = 88;
	CU_ASSERT_EQUAL(call(SEGUE_PV_FLUSH, ~0ull, VA, VA + 0x1000), 0);
	CU_ASSERT_EQUAL(op(OP_LOAD, VA, 0, 0, 0), 88);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_KERNEL_ROOT, ~0ull, 0, 0), 0);
	CU_ASSERT_EQUAL(op(OP_LOAD, VA, 0, 0, 0), -1);
	end();
}

static void ends_with(enum vcpu_exit_kind kind, const char *words)
{
	UNTIL(g.ended != VCPU_EXIT_KICKED);
	CU_ASSERT_EQUAL(g.ended, kind);
	CU_ASSERT_PTR_NOT_NULL(strstr(g.why, words));
	if (!strstr(g.why, words))
		fprintf(stderr, "'%s' is not in '%s'\n", words, g.why);
}

static void test_ends(void)
{
	static const char words[] = "out of\ncoffee";
	struct vcpu_exit exit = {0};

	begin();
	guest_post(&g, SEGUE_PV_END, SEGUE_PV_OFF, 0, 0, 0);
	ends_with(VCPU_EXIT_OFF, "");
	guest_pause(&g);
	engine_pv.vcpu_run(g.vcpu, &exit);
	CU_ASSERT_EQUAL(exit.kind, VCPU_EXIT_OFF);

	guest_boot(&g);
	guest_go(&g);
	memcpy(guest_at(&g, GUEST_FREE), words, sizeof(words));
	guest_post(&g, SEGUE_PV_END, SEGUE_PV_PANIC, GUEST_FREE, sizeof(words) - 1, 0);
	ends_with(VCPU_EXIT_PANICKED, "out of coffee");
	guest_pause(&g);

	guest_boot(&g);
	guest_go(&g);
	guest_post(&g, SEGUE_PV_END, SEGUE_PV_REBOOT, 0, 0, 0);
	ends_with(VCPU_EXIT_SHUTDOWN, "");
	end();
}

/* Faults that nobody can be told of. */
static void test_double_faults(void)
{
	begin();
	guest_post(&g, OP_LOAD, 0x10, 0, 0, 0);
	ends_with(VCPU_EXIT_FAILED, "no trap entry");
	guest_pause(&g);

	guest_boot(&g);
	guest_go(&g);
	set_entries();
	guest_post(&g, OP_STACK, 0x1000, 0, 0, 0);
	guest_post(&g, OP_LOAD, 0x10, 0, 0, 0);
	ends_with(VCPU_EXIT_FAILED, "its stack cannot be written");
	guest_pause(&g);

	guest_boot(&g);
	guest_go(&g);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_ENTRIES, 0x5000, 0x5000, 0), 0);
	guest_post(&g, OP_LOAD, 0x10, 0, 0, 0);
	ends_with(VCPU_EXIT_FAILED, "first instruction of its trap entry");
	end();
}

static void test_events(void)
{
	struct guest_notes *notes;
	uint64_t masked = DIRECT(GUEST_PAGE) + offsetof(struct segue_pv_vcpu, masked);
	unsigned blocked;

	begin();
	notes = guest_notes(&g);
	set_entries();
	/* Masked: only the bit shows it. */
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 9, true), 0);
	CU_ASSERT_EQUAL(guest_page(&g)->pending, 1u << 9);
	CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
	CU_ASSERT_EQUAL(call(SEGUE_PV_BLOCK, 0, 0, 0), 0);
	CU_ASSERT_EQUAL(notes->events, 0);
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 9, false), 0);
	CU_ASSERT_EQUAL(guest_page(&g)->pending, 0);
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 64, true), -EINVAL);

	/* Unmasked: the kernel, which is spinning, is interrupted, and goes on as it was. */
	CU_ASSERT_EQUAL(op(OP_UNMASK, masked, 0, 0, 0), 1);
	usleep(1000);
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, SEGUE_PV_LINE_POWER, true), 0);
	UNTIL(notes->events == 1);
	CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
	CU_ASSERT_EQUAL(guest_page(&g)->masked, 1);
	CU_ASSERT_EQUAL(guest_page(&g)->pending, 0);

	/* In BLOCK, masked and not. */
	blocked = guest_post(&g, SEGUE_PV_BLOCK, 0, 0, 0, 0);
	usleep(20000);
	CU_ASSERT_FALSE(guest_done(&g, blocked));
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 33, true), 0);
	CU_ASSERT_EQUAL(guest_wait(&g, blocked), 0);
	CU_ASSERT_EQUAL(notes->events, 1);
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 33, false), 0);
	CU_ASSERT_EQUAL(op(OP_UNMASK, masked, 0, 0, 0), 1);
	blocked = guest_post(&g, SEGUE_PV_BLOCK, 0, 0, 0, 0);
	usleep(20000);
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, SEGUE_PV_LINE_POWER, true), 0);
	CU_ASSERT_EQUAL(guest_wait(&g, blocked), 0);
	CU_ASSERT_EQUAL(notes->events, 2);
	end();
}

__extension__ typedef unsigned __int128 wide;

static uint64_t guest_time(void)
{
	struct segue_pv_clock *c = &guest_page(&g)->clock;

	return c->base_ns +
	       (uint64_t)((wide)(pv_tsc() - c->base_tsc) * c->mul >> c->shift);
}

static void test_timer(void)
{
	struct guest_notes *notes;
	uint64_t masked = DIRECT(GUEST_PAGE) + offsetof(struct segue_pv_vcpu, masked);
	uint64_t before, after;

	begin();
	notes = guest_notes(&g);
	set_entries();
	before = guest_time();
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_TIMER, before + 20 * MS, 0, 0), 0);
	CU_ASSERT_EQUAL(guest_page(&g)->pending, 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_BLOCK, 0, 0, 0), 0);
	after = guest_time();
	CU_ASSERT(after - before >= 20 * MS);
	CU_ASSERT(after - before < 500 * MS);
	CU_ASSERT_EQUAL(guest_page(&g)->pending, 1);

	/* Pending already: an event as soon as it is unmasked; and once. */
	CU_ASSERT_EQUAL(op(OP_UNMASK, masked, 0, 0, 0), 1);
	CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
	CU_ASSERT_EQUAL(notes->events, 1);

	/* While the kernel spins; one that is moved on, and one that is taken back. */
	CU_ASSERT_EQUAL(op(OP_UNMASK, masked, 0, 0, 0), 1);
	before = guest_time();
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_TIMER, before + 10 * MS, 0, 0), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_TIMER, before + 60 * MS, 0, 0), 0);
	usleep(30000);
	CU_ASSERT(notes->events == 1 || guest_time() - before >= 60 * MS);
	UNTIL(notes->events == 2);
	CU_ASSERT(guest_time() - before >= 60 * MS);
	CU_ASSERT_EQUAL(op(OP_UNMASK, masked, 0, 0, 0), 1);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_TIMER, guest_time() + 10 * MS, 0, 0), 0);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_TIMER, ~0ull, 0, 0), 0);
	usleep(30000);
	CU_ASSERT_EQUAL(call(SEGUE_PV_SET_TIMER, 0, 0, 0), 0); /* at once */
	UNTIL(notes->events >= 3);
	end();
}

static void test_kicks(void)
{
	unsigned blocked;

	begin();
	for (unsigned i = 0; i < 200; i++) {
		guest_pause(&g);
		guest_go(&g);
		if (i % 8 == 0)
			CU_ASSERT_EQUAL(call(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
	}
	blocked = guest_post(&g, SEGUE_PV_BLOCK, 0, 0, 0, 0);
	for (unsigned i = 0; i < 50; i++) {
		guest_pause(&g);
		guest_go(&g);
	}
	CU_ASSERT_FALSE(guest_done(&g, blocked));
	CU_ASSERT_EQUAL(engine_pv.set_irq(g.engine, 1, true), 0);
	CU_ASSERT_EQUAL(guest_wait(&g, blocked), 0);
	end();
}

int main(void)
{
	CU_pSuite suite;
	int failures;

	if (guest_cannot())
		return 77;
	CU_initialize_registry();
	suite = CU_add_suite("pv engine", NULL, NULL);
	CU_add_test(suite, "start", test_start);
	CU_add_test(suite, "wrong calls", test_wrong_calls);
	CU_add_test(suite, "io", test_io);
	CU_add_test(suite, "kernel faults", test_kernel_faults);
	CU_add_test(suite, "ends", test_ends);
	CU_add_test(suite, "double faults", test_double_faults);
	CU_add_test(suite, "events", test_events);
	CU_add_test(suite, "timer", test_timer);
	CU_add_test(suite, "kicks", test_kicks);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failures = (int)CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
