/* SPDX-License-Identifier: Apache-2.0 */
/* How the machine begins, and what it says to hypercalls that make no sense. */
#include "probe.h"

#define STACK 8192u
#define FLAGS 0xcd5u /* carry to overflow, direction; not those that are always set */

extern const struct segue_pv_regs start_regs;
extern const uint8_t start_xmm[64];
extern const uint32_t start_mxcsr;

static void start_boot(void)
{
	EXPECT_EQ(boot->magic, SEGUE_PV_BOOT_MAGIC);
	EXPECT_EQ(boot->version, SEGUE_PV_VERSION);
	EXPECT_EQ(boot->vcpus, 1);
	EXPECT(boot->ram >= 2u << 20 && boot->ram % (2u << 20) == 0);
	EXPECT(boot->free <= boot->ram);
	EXPECT(gpa_of(boot) < boot->ram);
	EXPECT(boot->cmdline + boot->cmdline_len < boot->ram);
	EXPECT_EQ(*(char *)at(boot->cmdline + boot->cmdline_len), 0);
	EXPECT(boot->initrd + boot->initrd_len <= boot->ram);
	EXPECT(boot->vcpu % PAGE == 0 && boot->vcpu + PAGE <= boot->ram);
	EXPECT(boot->xsave_size >= 576 && boot->xsave_size <= SEGUE_PV_XSAVE_MAX);
	EXPECT(boot->devices + boot->n_devices * sizeof(struct segue_pv_device) <= boot->ram);
}

static void start_registers(void)
{
	const uint64_t *r = (const uint64_t *)&start_regs;

	for (unsigned i = 0; i < 16; i++)
		if (i != 5 && i != 7) /* RDI, RSP */
			EXPECT_EQ(r[i], 0);
	EXPECT_EQ(start_regs.rdi, (uint64_t)boot);
	EXPECT_EQ(start_regs.rflags & FLAGS, 0);
	for (unsigned i = 0; i < sizeof(start_xmm); i++)
		EXPECT_EQ(start_xmm[i], 0);
	EXPECT_EQ(start_mxcsr, 0x1f80);
}

static void start_stack(void)
{
	uint64_t top = start_regs.rsp;

	EXPECT_EQ(top % 16, 0);
	EXPECT(top - STACK >= SEGUE_PV_DIRECT && top <= SEGUE_PV_DIRECT + boot->ram);
	for (uint64_t va = top - STACK; va < top; va += 8)
		EXPECT_EQ(try_read(va, NULL), -1);
	EXPECT(top <= (uint64_t)vcpu || top - STACK >= (uint64_t)vcpu + PAGE);
}

/* Nothing is overlaid by something else, and what nobody uses reads as zero. */
static void start_memory(void)
{
	uint64_t last = boot->ram - PAGE;

	EXPECT_EQ(try_read(SEGUE_PV_DIRECT, NULL), -1);
	EXPECT_EQ(try_write(SEGUE_PV_DIRECT + last, NULL), -1);
	EXPECT_EQ(*(uint64_t *)at(last), SEGUE_PV_DIRECT + last);
	EXPECT_EQ(*(uint64_t *)at(last - PAGE), 0);
	*(uint64_t *)at(last) = 0;
	EXPECT_EQ(try_read(SEGUE_PV_DIRECT + boot->ram, NULL), SEGUE_PV_VECTOR_PF);
	/* RAM is executable in kernel mode: a RET. */
	*(uint8_t *)at(last) = 0xc3;
	EXPECT_EQ(try_jump(SEGUE_PV_DIRECT + last, NULL), -1);
	*(uint8_t *)at(last) = 0;
}

static void version(void)
{
	EXPECT_EQ(hv(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
	EXPECT_EQ(hv(SEGUE_PV_VERSION_GET, ~0ull, ~0ull, ~0ull), SEGUE_PV_VERSION);
	/* The number is EAX; what is above it does not count. */
	EXPECT_EQ(hv(0xabcd00000000ull | SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
}

static void unknown(void)
{
	static const uint64_t numbers[] = {
	    0,
	    1,
	    0x5e8fff,
	    SEGUE_PV_CALL_LAST + 1,
	    SEGUE_PV_CALL_LAST + 100,
	    0x5e9fff,
	    0x3fffffff,
	    0x80000000,
	    0xbffffffe,
	};

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		EXPECT_EQ(hv(numbers[i], 0, 0, 0), SEGUE_PV_ENOSYS);
}

/* Registers but RAX, RCX and R11 survive a hypercall; the flags and the stack do, too. */
static void hypercall_registers(void)
{
	EXPECT_EQ(hypercall_check(SEGUE_PV_VERSION_GET, SEGUE_PV_VERSION), 0);
	EXPECT_EQ(hypercall_check(1, SEGUE_PV_ENOSYS), 0);
	EXPECT_EQ(hypercall_check(SEGUE_PV_PRINT, 0), 0); /* of no bytes */
	/* One that is at work for a while. */
	set_timer(clock_ns() + 2 * MS);
	EXPECT_EQ(hypercall_check(SEGUE_PV_BLOCK, 0), 0);
}

/* ---- arguments out of range ---- */

struct bad_call {
	uint32_t call;
	uint64_t a, b, c, d;
	const char *name;
};

#define FAR 0xfffffffffffff000ull
#define ODD 0x1001ull
static const struct bad_call bad_calls[] = {
    {SEGUE_PV_SET_ENTRIES, ~0ull, ~0ull, 0, 0, "entries at ~0"},
    {SEGUE_PV_SET_ENTRIES, 1ull << 47, 1ull << 47, 0, 0, "entries not canonical"},
    {SEGUE_PV_SET_ENTRIES, SEGUE_PV_VA_END, SEGUE_PV_VA_END, 0, 0, "entries at VA_END"},
    {SEGUE_PV_SET_KERNEL_ROOT, FAR, 0, 0, 0, "kernel root far"},
    {SEGUE_PV_SET_KERNEL_ROOT, ODD, 0, 0, 0, "kernel root odd"},
    {SEGUE_PV_CONTEXT_CREATE, FAR, 7, 0, 0, "context in a far root"},
    {SEGUE_PV_CONTEXT_CREATE, ODD, 7, 0, 0, "context in an odd root"},
    {SEGUE_PV_CONTEXT_CREATE, ~0ull, 7, 0, 0, "context in no root"},
    {SEGUE_PV_CONTEXT_CREATE, 0x100000, 1u << 22, 0, 0, "context 2^22"},
    {SEGUE_PV_CONTEXT_CREATE, 0x100000, ~0ull, 0, 0, "context ~0"},
    {SEGUE_PV_CONTEXT_CREATE, 0x100000, 1ull << 32, 0, 0, "context 2^32"},
    {SEGUE_PV_CONTEXT_DESTROY, 12345, 0, 0, 0, "destroying no context"},
    {SEGUE_PV_CONTEXT_DESTROY, ~0ull, 0, 0, 0, "destroying context ~0"},
    {SEGUE_PV_ENTER_USER, 12345, 0, 0, 0, "entering no context"},
    {SEGUE_PV_ENTER_USER, 1ull << 32, 0, 0, 0, "entering context 2^32"},
    {SEGUE_PV_ENTER_USER, ~0ull, 0, 0, 0, "entering context ~0"},
    {SEGUE_PV_GET_USER, 12345, 0, 0, 0, "registers of no context"},
    {SEGUE_PV_GET_USER, ~0ull, 0, 0, 0, "registers of context ~0"},
    {SEGUE_PV_IO_READ, 2, 0x3f8, 1, 0, "reading space 2"},
    {SEGUE_PV_IO_READ, ~0ull, 0x3f8, 1, 0, "reading space ~0"},
    {SEGUE_PV_IO_READ, SEGUE_PV_PORTS, 0x3f8, 0, 0, "reading 0 bytes"},
    {SEGUE_PV_IO_READ, SEGUE_PV_PORTS, 0x3f8, 3, 0, "reading 3 bytes"},
    {SEGUE_PV_IO_READ, SEGUE_PV_PORTS, 0x3f8, 16, 0, "reading 16 bytes"},
    {SEGUE_PV_IO_READ, SEGUE_PV_PORTS, 0x3f8, ~0ull, 0, "reading ~0 bytes"},
    {SEGUE_PV_IO_WRITE, 2, 0x3f8, 1, 0, "writing space 2"},
    {SEGUE_PV_IO_WRITE, SEGUE_PV_PORTS, 0x3f8, 0, 0, "writing 0 bytes"},
    {SEGUE_PV_IO_WRITE, SEGUE_PV_PORTS, 0x3f8, 5, 0, "writing 5 bytes"},
    {SEGUE_PV_IO_WRITE, SEGUE_PV_PORTS, 0x3f8, 1ull << 32 | 1, 0, "writing 2^32+1 bytes"},
    {SEGUE_PV_PRINT, FAR, 8, 0, 0, "text far away"},
    {SEGUE_PV_PRINT, 0, ~0ull, 0, 0, "text of ~0 bytes"},
    {SEGUE_PV_PRINT, 0, 1ull << 40, 0, 0, "text of 2^40 bytes"},
    {SEGUE_PV_END, 3, 0, 0, 0, "end 3"},
    {SEGUE_PV_END, ~0ull, 0, 0, 0, "end ~0"},
};

static void malformed(void)
{
	for (unsigned i = 0; i < sizeof(bad_calls) / sizeof(*bad_calls); i++) {
		const struct bad_call *c = &bad_calls[i];
		int64_t r = hv6(c->call, c->a, c->b, c->c, c->d, 0, 0);

		if (!is_error(r)) {
			fail_values(c->name, (uint64_t)r, (uint64_t)SEGUE_PV_EINVAL);
			return;
		}
	}
	/* Nothing to flush or to drop there. Either word is fine, harm is not. */
	hv(SEGUE_PV_FLUSH, NO_ROOT, SEGUE_PV_VA_END, 0);
	hv(SEGUE_PV_FLUSH, NO_ROOT, 0, ~0ull);
	hv(SEGUE_PV_FLUSH, NO_ROOT, ~0ull, ~0ull);
	hv(SEGUE_PV_FLUSH, NO_ROOT, 1, 2);
	hv(SEGUE_PV_FLUSH, FAR, 0, PAGE);
	hv(SEGUE_PV_FLUSH, ODD, 0, PAGE);
	hv(SEGUE_PV_DROP_ROOT, FAR, 0, 0);
	hv(SEGUE_PV_DROP_ROOT, ~0ull, 0, 0);
	hv(SEGUE_PV_DROP_ROOT, ODD, 0, 0);
	/* The end of RAM and one byte more. */
	EXPECT(is_error(hv(SEGUE_PV_PRINT, boot->ram - 1, 2, 0)));
	EXPECT(is_error(hv(SEGUE_PV_SET_KERNEL_ROOT, boot->ram, 0, 0)));
	EXPECT(is_error(hv(SEGUE_PV_CONTEXT_CREATE, boot->ram, 7, 0)));
	EXPECT_EQ(hv(SEGUE_PV_PRINT, 0, 0, 0), 0);
	RUN(start_memory());
}

/* Random calls with random arguments: whatever they say, the machine goes on. */
static void wild(void)
{
	static const uint64_t values[] = {
	    0,
	    1,
	    4,
	    8,
	    PAGE,
	    SEGUE_PV_DIRECT,
	    SEGUE_PV_USER_BEGIN,
	    SEGUE_PV_VA_END,
	    FAR,
	    ~0ull,
	    1ull << 63,
	    1ull << 47,
	    1ull << 32,
	    1ull << 22,
	    0x3f8,
	    ODD,
	};
	uint64_t seed = cmdline_number("seed", 12345), rounds = cmdline_number("wild", 20000);

	for (uint64_t i = 0; i < rounds; i++) {
		uint64_t a[3], x = random_next(&seed);
		uint64_t call =
		    SEGUE_PV_VERSION_GET + x % (SEGUE_PV_END - SEGUE_PV_VERSION_GET);

		for (unsigned k = 0; k < 3; k++) {
			x = random_next(&seed);
			a[k] = x & 1 ? values[x >> 8 & 15] : values[x >> 8 & 15] + (x >> 40);
		}
		/* These are good calls with any arguments, and would stop or say something. */
		if (call == SEGUE_PV_BLOCK || call == SEGUE_PV_PRINT ||
		    (call == SEGUE_PV_IO_WRITE && a[0] < 2))
			continue;
		if (call == SEGUE_PV_CONTEXT_CREATE && a[0] < boot->ram)
			a[1] |= 1ull << 40;
		hv(call, a[0], a[1], a[2]);
		if (call == SEGUE_PV_SET_ENTRIES)
			trap_init();
		if (call == SEGUE_PV_SET_KERNEL_ROOT)
			hv(SEGUE_PV_SET_KERNEL_ROOT, NO_ROOT, 0, 0);
	}
	set_timer(~0ull);
	RUN(version());
	RUN(start_memory());
}

const struct probe_case start_cases[] = {
    {"boot", start_boot},
    {"registers", start_registers},
    {"stack", start_stack},
    {"memory", start_memory},
    {"version", version},
    {"unknown", unknown},
    {"hypercall-registers", hypercall_registers},
    {"malformed", malformed},
    {"wild", wild},
    {NULL, NULL},
};
