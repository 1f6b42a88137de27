/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel mode's own mappings, and its faults. */
#include "case_kernel.h"

uint64_t kernel_root;

void kernel_root_new(void)
{
	kernel_root = root_new();
	EXPECT_EQ(hv(SEGUE_PV_SET_KERNEL_ROOT, kernel_root, 0, 0), 0);
}

uint64_t kernel_get(uint64_t va)
{
	uint64_t value;

	barrier();
	value = *(volatile uint64_t *)va;
	barrier();
	return value;
}

void kernel_put(uint64_t va, uint64_t value)
{
	barrier();
	*(volatile uint64_t *)va = value;
	barrier();
}

void kernel_expect_fault(int (*access)(uint64_t, struct segue_pv_frame *), uint64_t va,
			 uint32_t error)
{
	struct segue_pv_frame frame = {0};

	EXPECT_EQ(access(va, &frame), SEGUE_PV_VECTOR_PF);
	EXPECT_EQ(frame.trap.address, va);
	EXPECT_EQ(frame.trap.error, error);
}

/* ---- mapping ---- */

static void kernel_map(void)
{
	uint64_t page = page_new(), other = page_new();

	RUN(kernel_root_new());
	map(kernel_root, KVA, page, K_RW);
	kernel_put(KVA + 8, 1234);
	EXPECT_EQ(kernel_get(SEGUE_PV_DIRECT + page + 8), 1234);
	kernel_put(SEGUE_PV_DIRECT + page + 16, 5678);
	EXPECT_EQ(kernel_get(KVA + 16), 5678);
	/* The same page twice, and one filled in later, without FLUSH. */
	map(kernel_root, KVA + 7 * PAGE, page, K_RW);
	EXPECT_EQ(kernel_get(KVA + 7 * PAGE + 8), 1234);
	RUN(kernel_expect_fault(try_read, KVA + PAGE, 0));
	map(kernel_root, KVA + PAGE, other, K_RW);
	kernel_put(KVA + PAGE, 99);
	EXPECT_EQ(kernel_get(SEGUE_PV_DIRECT + other), 99);
	/* Its last address, and its first. */
	map(kernel_root, SEGUE_PV_VA_END - PAGE, other, K_RW);
	EXPECT_EQ(kernel_get(SEGUE_PV_VA_END - PAGE), 99);
	map(kernel_root, SEGUE_PV_DIRECT + boot->ram, other, K_RW);
	EXPECT_EQ(kernel_get(SEGUE_PV_DIRECT + boot->ram), 99);
	/* U is of no matter here. */
	map(kernel_root, KVA + 9 * PAGE, other, U_RW);
	EXPECT_EQ(kernel_get(KVA + 9 * PAGE), 99);
}

static void kernel_remap(void)
{
	uint64_t a = page_new(), b = page_new(), other;

	RUN(kernel_root_new());
	kernel_put(SEGUE_PV_DIRECT + a, 'a');
	kernel_put(SEGUE_PV_DIRECT + b, 'b');
	for (unsigned i = 0; i < 100; i++) {
		map(kernel_root, KVA, i & 1 ? b : a, K_RW);
		EXPECT_EQ(flush(NO_ROOT, KVA, 1), 0);
		EXPECT_EQ(kernel_get(KVA), i & 1 ? 'b' : 'a');
	}
	/* Another kernel_root altogether, and none. */
	other = root_new();
	map(other, KVA, a, K_RW);
	EXPECT_EQ(hv(SEGUE_PV_SET_KERNEL_ROOT, other, 0, 0), 0);
	EXPECT_EQ(hv(SEGUE_PV_FLUSH, NO_ROOT, SEGUE_PV_DIRECT + boot->ram, SEGUE_PV_VA_END), 0);
	EXPECT_EQ(kernel_get(KVA), 'a');
	EXPECT_EQ(hv(SEGUE_PV_SET_KERNEL_ROOT, NO_ROOT, 0, 0), 0);
	EXPECT_EQ(hv(SEGUE_PV_FLUSH, NO_ROOT, 0, SEGUE_PV_VA_END), 0);
	RUN(kernel_expect_fault(try_read, KVA, 0));
	/* A flush of everything leaves the direct map alone. */
	EXPECT_EQ(kernel_get(SEGUE_PV_DIRECT + b), 'b');
}

/* Only the pages flushed go, and all of them. */
static void kernel_flush(void)
{
	uint64_t pages = pages_new(64);

	RUN(kernel_root_new());
	map_range(kernel_root, KVA, pages, 64, K_RW);
	for (unsigned i = 0; i < 64; i++)
		kernel_put(KVA + i * PAGE, i);
	for (unsigned i = 16; i < 48; i++)
		*entry(kernel_root, KVA + i * PAGE) = 0;
	EXPECT_EQ(flush(NO_ROOT, KVA + 16 * PAGE, 32), 0);
	for (unsigned i = 0; i < 64; i++) {
		if (i < 16 || i >= 48)
			EXPECT_EQ(kernel_get(KVA + i * PAGE), i);
		else
			RUN(kernel_expect_fault(try_read, KVA + i * PAGE, 0));
	}
	/* A whole table goes at once. */
	((uint64_t *)at(kernel_root))[KVA >> 30 & 511] = 0;
	EXPECT_EQ(hv(SEGUE_PV_FLUSH, NO_ROOT, KVA, KVA + (1ull << 30)), 0);
	RUN(kernel_expect_fault(try_write, KVA, SEGUE_PV_PF_WRITE));
}

/* ---- rights ---- */

#define P    SEGUE_PV_PF_PRESENT
#define W    SEGUE_PV_PF_WRITE
#define X    SEGUE_PV_PF_FETCH
#define NONE ~0u

static void expect_access(int (*access)(uint64_t, struct segue_pv_frame *), uint64_t va,
			  uint32_t error)
{
	if (error == NONE)
		EXPECT_EQ(access(va, NULL), -1);
	else
		kernel_expect_fault(access, va, error);
}

static void kernel_rights(void)
{
	static const struct {
		uint64_t flags;
		uint32_t read, write, jump; /* errors */
	} rights[] = {
	    {K_RWX, NONE, NONE, NONE},
	    {K_RW, NONE, NONE, P | X},
	    {K_RO, NONE, P | W, P | X},
	    {K_RX, NONE, P | W, NONE},
	    {K_RWX & ~SEGUE_PV_PTE_A, P, P | W, P | X},
	    {K_RWX & ~SEGUE_PV_PTE_D, NONE, P | W, NONE},
	    {K_RWX & ~SEGUE_PV_PTE_W, NONE, P | W, NONE},
	    {K_RWX & ~SEGUE_PV_PTE_P, 0, W, X},
	};
	uint64_t page = page_new();

	RUN(kernel_root_new());
	for (unsigned i = 0; i < sizeof(rights) / sizeof(*rights); i++) {
		uint64_t va = KVA + i * 3 * PAGE;

		map(kernel_root, va, page, rights[i].flags);
		RUN(expect_access(try_write, va, rights[i].write));
		RUN(expect_access(try_read, va, rights[i].read));
		*(uint8_t *)at(page) = 0xc3; /* RET */
		RUN(expect_access(try_jump, va, rights[i].jump));
		RUN(expect_access(try_write, va, rights[i].write));
		/* All rights at last: given, so without FLUSH. */
		map(kernel_root, va, page, K_RWX);
		RUN(expect_access(try_write, va, NONE));
		*(uint8_t *)at(page) = 0xc3;
		RUN(expect_access(try_jump, va, NONE));
		/* And taken away, with one. */
		map(kernel_root, va, page, rights[i].flags);
		EXPECT_EQ(flush(NO_ROOT, va, 1), 0);
		RUN(expect_access(try_write, va, rights[i].write));
		*(uint8_t *)at(page) = 0xc3;
		RUN(expect_access(try_jump, va, rights[i].jump));
	}
}

/* The machine never writes an entry. */
static void kernel_entries_kept(void)
{
	uint64_t page = page_new();

	RUN(kernel_root_new());
	map(kernel_root, KVA, page, K_RW & ~SEGUE_PV_PTE_D);
	EXPECT_EQ(try_read(KVA, NULL), -1);
	EXPECT_EQ(try_write(KVA, NULL), SEGUE_PV_VECTOR_PF);
	EXPECT_EQ(*entry(kernel_root, KVA), page | (K_RW & ~SEGUE_PV_PTE_D));
	/* Bits that mean nothing do nothing. */
	map(kernel_root, KVA, page, K_RW | 0xfff0000000000c1eull);
	EXPECT_EQ(try_write(KVA, NULL), -1);
	EXPECT_EQ(*entry(kernel_root, KVA), page | K_RW | 0xfff0000000000c1eull);
}

/* ---- faults ---- */

static unsigned served;

static bool fill_in(struct segue_pv_frame *frame)
{
	uint64_t va = frame->trap.address & ~(uint64_t)(PAGE - 1);

	if (frame->trap.vector != SEGUE_PV_VECTOR_PF || va < KVA || va >= KVA + 4096 * PAGE)
		return false;
	served++;
	map(kernel_root, va, page_new(), K_RW);
	return true;
}

/* Filled in by the trap entry, the same instruction goes on, registers and all. */
static void kernel_demand(void)
{
	uint64_t sum = 0, n = 200;

	RUN(kernel_root_new());
	served = 0;
	trap_hook = fill_in;
	for (uint64_t i = 0; i < n; i++)
		kernel_put(KVA + i * 5 * PAGE + i * 8, i);
	for (uint64_t i = 0; i < n; i++)
		sum += kernel_get(KVA + i * 5 * PAGE + i * 8);
	trap_hook = NULL;
	EXPECT_EQ(served, n);
	EXPECT_EQ(sum, n * (n - 1) / 2);
}

/* The same fault at the same instruction, any number of times, served or told. */
static void kernel_again(void)
{
	uint64_t page = page_new();

	RUN(kernel_root_new());
	for (unsigned i = 0; i < 2000; i++)
		EXPECT_EQ(try_write(KVA, NULL), SEGUE_PV_VECTOR_PF);
	map(kernel_root, KVA, page, K_RW);
	for (unsigned i = 0; i < 2000; i++) {
		EXPECT_EQ(flush(NO_ROOT, KVA, 1), 0);
		EXPECT_EQ(try_write(KVA, NULL), -1);
	}
}

static struct segue_pv_regs seen;

static bool look(struct segue_pv_frame *frame)
{
	seen = frame->regs;
	frame->regs.rip += 2; /* over UD2 */
	frame->regs.r9 = 0x99;
	return frame->trap.vector == SEGUE_PV_VECTOR_UD;
}

/* The frame has the registers, and what the handler puts there they become. */
static void kernel_frame(void)
{
	uint64_t a = 1, c = 3, d = 4, s = 6, r9 = 0, r15 = 0;

	trap_hook = look;
	__asm__ volatile("movq $0x88, %%r8; movq $0x1515, %%r15; ud2; movq %%r9, %4;"
			 "movq %%r15, %5"
			 : "+a"(a), "+c"(c), "+d"(d), "+S"(s), "=&r"(r9), "=&r"(r15)
			 :
			 : "r8", "r9", "r15", "memory");
	trap_hook = NULL;
	EXPECT(a == 1 && c == 3 && d == 4 && s == 6 && r9 == 0x99 && r15 == 0x1515);
	EXPECT(seen.rax == 1 && seen.rcx == 3 && seen.rdx == 4 && seen.rsi == 6);
	EXPECT(seen.r8 == 0x88 && seen.r15 == 0x1515);
	EXPECT_EQ(seen.rflags & 0x700, 0x200);
}

static void do_divide(uint64_t by)
{
	__asm__ volatile("divl %1" : : "a"(1), "r"((uint32_t)by), "d"(0));
}

static void do_breakpoint(uint64_t unused)
{
	(void)unused;
	__asm__ volatile("int3");
}

static void do_undefined(uint64_t unused)
{
	(void)unused;
	__asm__ volatile("ud2");
}

static void do_privileged(uint64_t unused)
{
	(void)unused;
	__asm__ volatile("cli");
}

static void do_port(uint64_t port)
{
	__asm__ volatile("outb %%al, %%dx" : : "a"(0), "d"(port));
}

static void do_msr(uint64_t msr)
{
	__asm__ volatile("rdmsr" : : "c"(msr) : "eax", "edx");
}

static void do_control(uint64_t value)
{
	__asm__ volatile("movq %0, %%cr3" : : "r"(value));
}

static void do_noncanonical(uint64_t va)
{
	*(volatile uint64_t *)va = 0;
}

static void kernel_faults(void)
{
	static const struct {
		void (*function)(uint64_t);
		uint64_t argument;
		uint32_t vector;
	} faults[] = {
	    {do_divide, 0, SEGUE_PV_VECTOR_DE},
	    {do_breakpoint, 0, SEGUE_PV_VECTOR_BP},
	    {do_undefined, 0, SEGUE_PV_VECTOR_UD},
	    {do_privileged, 0, SEGUE_PV_VECTOR_GP},
	    {do_port, 0x80, SEGUE_PV_VECTOR_GP},
	    {do_msr, 0xc0000082, SEGUE_PV_VECTOR_GP},
	    {do_control, 0, SEGUE_PV_VECTOR_GP},
	    {do_noncanonical, 1ull << 63, SEGUE_PV_VECTOR_GP},
	    {do_noncanonical, 1ull << 62, SEGUE_PV_VECTOR_GP},
	};

	for (unsigned i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		struct segue_pv_frame frame = {0};

		EXPECT(try(faults[i].function, faults[i].argument, &frame));
		EXPECT_EQ(frame.trap.vector, faults[i].vector);
	}
}

static unsigned inner;

static bool fault_in_handler(struct segue_pv_frame *frame)
{
	if (frame->trap.address >= KVA && frame->trap.address < KVA + 16 * PAGE) {
		/* The handler's own access faults, one level further down each time. */
		uint64_t next = frame->trap.address + PAGE;

		inner++;
		if (next < KVA + 16 * PAGE)
			kernel_put(next, inner);
		map(kernel_root, frame->trap.address & ~(uint64_t)(PAGE - 1), page_new(), K_RW);
		return true;
	}
	return false;
}

static void kernel_nested(void)
{
	RUN(kernel_root_new());
	inner = 0;
	trap_hook = fault_in_handler;
	kernel_put(KVA, 77);
	trap_hook = NULL;
	EXPECT_EQ(inner, 16);
	EXPECT_EQ(kernel_get(KVA), 77);
	EXPECT_EQ(kernel_get(KVA + 15 * PAGE), 15);
}

const struct probe_case kernel_cases[] = {
    {"kernel-map", kernel_map},
    {"kernel-remap", kernel_remap},
    {"kernel-flush", kernel_flush},
    {"kernel-rights", kernel_rights},
    {"kernel-entries-kept", kernel_entries_kept},
    {"kernel-demand", kernel_demand},
    {"kernel-again", kernel_again},
    {"kernel-frame", kernel_frame},
    {"kernel-faults", kernel_faults},
    {"kernel-nested", kernel_nested},
    {NULL, NULL},
};
