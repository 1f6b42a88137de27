/* SPDX-License-Identifier: Apache-2.0 */
/* Address spaces: what separates them, what they share, how many and how large they may be. */
#include "probe.h"

extern const char u_read[], u_write[], u_jump[], u_syscall[], u_spin[], u_sum[], u_touch[];

#define SYS_DONE 1
#define UVA      0x80000000ull
#define NONE     ~0u
#define U        SEGUE_PV_PF_USER

static uint64_t got;

/* CODE at VA: SYS_DONE with its result in GOT, or a page fault there with ERROR. */
static void access_at(uint64_t id, const char *code, uint64_t va, uint64_t value,
		      uint32_t error)
{
	int64_t r;

	user_load(code);
	user->regs.rdi = va;
	user->regs.rsi = value;
	r = enter(id);
	if (error == NONE) {
		EXPECT_EQ(r, SEGUE_PV_SYSCALL);
		EXPECT_EQ(user->number, SYS_DONE);
		got = user->arguments[0];
		return;
	}
	EXPECT_EQ(r, SEGUE_PV_TRAP);
	EXPECT_EQ(user->trap.vector, SEGUE_PV_VECTOR_PF);
	EXPECT_EQ(user->trap.address, va);
	EXPECT_EQ(user->trap.error, error);
}

static void read_at(uint64_t id, uint64_t va, uint64_t want)
{
	RUN(access_at(id, u_read, va, 0, NONE));
	EXPECT_EQ(got, want);
}

/* Nothing of the kernel's is there for a program, and nothing of another program's. */
static void space_apart(void)
{
	struct program p, q;
	uint64_t kernel_root = root_new(), page = page_new();
	const uint64_t kva = 0x4000000000ull;
	const uint64_t places[] = {
	    SEGUE_PV_DIRECT,
	    (uint64_t)&got,
	    (uint64_t)vcpu,
	    (uint64_t)boot,
	    SEGUE_PV_DIRECT + page,
	    kva,
	    SEGUE_PV_DIRECT + boot->ram - PAGE,
	};

	EXPECT_EQ(hv(SEGUE_PV_SET_KERNEL_ROOT, kernel_root, 0, 0), 0);
	map(kernel_root, kva, page, U_RWX);
	*(uint64_t *)kva = 1;
	EXPECT(program_new(&p, u_syscall));
	EXPECT(program_new(&q, u_syscall));
	map(q.root, UVA, page, U_RWX);
	RUN(read_at(q.id, UVA, 1));
	for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
		RUN(access_at(p.id, u_read, places[i] & ~7ull, 0, U));
		RUN(access_at(p.id, u_write, places[i] & ~7ull, 0, U | SEGUE_PV_PF_WRITE));
		RUN(access_at(p.id, u_jump, places[i], 0, U | SEGUE_PV_PF_FETCH));
	}
	RUN(access_at(p.id, u_read, UVA, 0, U));
	/* The kernel's place is a program's to use, with a page of its own. */
	map(p.root, SEGUE_PV_DIRECT, page_new(), U_RWX);
	RUN(access_at(p.id, u_write, SEGUE_PV_DIRECT, 4711, NONE));
	RUN(read_at(p.id, SEGUE_PV_DIRECT, 4711));
	EXPECT(*(uint64_t *)SEGUE_PV_DIRECT != 4711);
	/* And the kernel has nothing of the program's. */
	map(p.root, kva + PAGE, page, U_RWX);
	RUN(read_at(p.id, kva + PAGE, 1));
	EXPECT_EQ(try_read(kva + PAGE, NULL), SEGUE_PV_VECTOR_PF);
}

static void space_shared(void)
{
	struct program p[3];
	uint64_t page = page_new();

	for (unsigned i = 0; i < 3; i++) {
		EXPECT(program_new(&p[i], u_syscall));
		map(p[i].root, UVA + i * PAGE, page, i == 2 ? U_RO : U_RW);
	}
	for (unsigned round = 1; round < 50; round++) {
		unsigned writer = round % 2;

		RUN(access_at(p[writer].id, u_write, UVA + writer * PAGE, round, NONE));
		for (unsigned i = 0; i < 3; i++)
			RUN(read_at(p[i].id, UVA + i * PAGE, round));
		EXPECT_EQ(*(uint64_t *)at(page), round);
	}
	RUN(access_at(p[2].id, u_write, UVA + 2 * PAGE, 0,
		      U | SEGUE_PV_PF_PRESENT | SEGUE_PV_PF_WRITE));
	/* Taken from one of them, the others keep it. */
	map(p[0].root, UVA, 0, 0);
	EXPECT_EQ(flush(p[0].root, UVA, 1), 0);
	RUN(access_at(p[0].id, u_read, UVA, 0, U));
	RUN(read_at(p[1].id, UVA + PAGE, 49));
}

/* Copy on write, as a kernel does it after fork. */
static void space_copy_on_write(void)
{
	struct program p, q;
	uint64_t pages = pages_new(32);

	EXPECT(program_new(&p, u_syscall));
	map_range(p.root, UVA, pages, 32, U_RW);
	for (unsigned i = 0; i < 32; i++)
		RUN(access_at(p.id, u_write, UVA + i * PAGE, i, NONE));
	map_range(p.root, UVA, pages, 32, U_RO);
	EXPECT_EQ(flush(p.root, UVA, 32), 0);
	EXPECT(program_new(&q, u_syscall));
	map_range(q.root, UVA, pages, 32, U_RO);
	for (unsigned i = 0; i < 32; i++) {
		RUN(read_at(q.id, UVA + i * PAGE, i));
		user_load(u_write);
		user->regs.rdi = UVA + i * PAGE;
		user->regs.rsi = 100 + i;
		EXPECT_EQ(enter(q.id), SEGUE_PV_TRAP);
		EXPECT_EQ(user->trap.error, U | SEGUE_PV_PF_PRESENT | SEGUE_PV_PF_WRITE);
		map(q.root, UVA + i * PAGE, page_new(), U_RW);
		EXPECT_EQ(flush(q.root, UVA + i * PAGE, 1), 0);
		user->action = SEGUE_PV_CONTINUE;
		EXPECT_EQ(enter(q.id), SEGUE_PV_SYSCALL);
		RUN(read_at(q.id, UVA + i * PAGE, 100 + i));
		RUN(read_at(p.id, UVA + i * PAGE, i));
	}
}

/* FLUSH takes rights from contexts in every kind of stop, and only in its range. */
static void space_flush(void)
{
	struct program p;
	uint64_t pages = pages_new(600);

	EXPECT(program_new(&p, u_syscall));
	map_range(p.root, UVA, pages, 600, U_RW);
	for (unsigned i = 0; i < 600; i++)
		*(uint64_t *)at(pages + i * PAGE) = i;
	user_load(u_sum);
	user->regs.rdi = UVA;
	user->regs.rsi = PAGE;
	user->regs.rcx = 600;
	EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
	EXPECT_EQ(user->arguments[0], 600 * 599 / 2);
	for (unsigned i = 100; i < 500; i++)
		*entry(p.root, UVA + i * PAGE) = 0;
	EXPECT_EQ(flush(p.root, UVA + 100 * PAGE, 400), 0);
	for (unsigned i = 0; i < 600; i += 7)
		if (i >= 100 && i < 500)
			RUN(access_at(p.id, u_read, UVA + i * PAGE, 0, U));
		else
			RUN(read_at(p.id, UVA + i * PAGE, i));
	/* Everything at once: also the code the context is about to run. */
	user_load(u_sum);
	user->regs.rdi = UVA;
	user->regs.rcx = 1;
	*entry(p.root, USER_CODE) = 0;
	EXPECT_EQ(hv(SEGUE_PV_FLUSH, p.root, 0, SEGUE_PV_VA_END), 0);
	EXPECT_EQ(enter(p.id), SEGUE_PV_TRAP);
	EXPECT_EQ(user->trap.error, U | SEGUE_PV_PF_FETCH);
	map(p.root, USER_CODE, gpa_of(user_begin), U_RX);
	user->action = SEGUE_PV_CONTINUE;
	EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
	/* A root used again for something else. */
	root_drop(p.root);
	memset(at(p.root), 0, PAGE);
	map_range(p.root, USER_CODE, gpa_of(user_begin),
		  (uint64_t)(user_end - user_begin) / PAGE, U_RX);
	map(p.root, UVA, pages + 5 * PAGE, U_RO);
	p.id = context_new(p.root);
	EXPECT(p.id != ~0ull);
	RUN(read_at(p.id, UVA, 5));
	RUN(access_at(p.id, u_read, UVA + PAGE, 0, U));
	EXPECT_EQ(hv(SEGUE_PV_DROP_ROOT, p.root, 0, 0), 0);
}

/* Tables of a program that make no sense, or are its own memory. */
static void space_tables(void)
{
	const uint64_t self = 511ull << 30 | 511ull << 21 | 511ull << 12;
	struct program p;
	uint64_t *top;

	EXPECT(program_new(&p, u_syscall));
	top = at(p.root);
	top[511] = p.root | U_RW;
	RUN(read_at(p.id, self + 511 * 8, p.root | U_RW));
	/* A program that writes its own page table: it gets what it wrote, and no more. */
	RUN(access_at(p.id, u_write, self + 510 * 8, boot->ram | U_RWX, NONE));
	EXPECT_EQ(top[510], boot->ram | U_RWX);
	RUN(access_at(p.id, u_read, 510ull << 30, 0, U));
	top[509] = 1ull << 50 | U_RWX;
	RUN(access_at(p.id, u_read, 509ull << 30, 0, U));
	/* Tables shared by two places of one root. */
	top[UVA >> 30 & 511] = top[USER_DATA >> 30 & 511];
	RUN(read_at(p.id, UVA + USER_DATA, 0));
	RUN(access_at(p.id, u_write, UVA + USER_DATA, 31, NONE));
	RUN(read_at(p.id, USER_DATA, 31));
	EXPECT_EQ(*(uint64_t *)at(p.data), 31);
}

/* ---- many and large ---- */

static void space_many(void)
{
	uint64_t n = cmdline_number("roots", 300), i;
	static struct program p[2000];

	if (n > sizeof(p) / sizeof(*p))
		n = sizeof(p) / sizeof(*p);
	for (i = 0; i < n; i++) {
		EXPECT(program_new(&p[i], u_write));
		user->regs.rsi = 7000 + i;
		RUN(access_at(p[i].id, u_write, USER_DATA, 7000 + i, NONE));
	}
	note("roots", n);
	for (i = 0; i < n; i++) {
		RUN(read_at(p[i].id, USER_DATA, 7000 + i));
		EXPECT_EQ(*(uint64_t *)at(p[i].data), 7000 + i);
	}
	for (i = 0; i < n; i += 2)
		root_drop(p[i].root);
	for (i = 1; i < n; i += 2)
		RUN(read_at(p[i].id, USER_DATA, 7000 + i));
}

/* Threads in one root. */
static void space_contexts(void)
{
	uint64_t n = cmdline_number("contexts", 300), root = user_root(NULL), first = ~0ull, id;

	for (uint64_t i = 0; i < n; i++) {
		id = context_new(root);
		if (first == ~0ull)
			first = id;
		EXPECT_EQ(id, first + i);
		user_load(u_syscall);
		user->regs.rdi = i;
		user->regs.rax = i;
		EXPECT_EQ(enter(id), SEGUE_PV_SYSCALL);
	}
	for (uint64_t i = 0; i < n; i++) {
		EXPECT_EQ(enter_return(first + i, i + 5), SEGUE_PV_SYSCALL);
		EXPECT_EQ(user->number, i + 5);
		EXPECT_EQ(user->arguments[0], i);
	}
}

/* As many roots, then contexts, as the machine will give: it refuses, and goes on. */
static void space_exhaust(void)
{
	uint64_t n = cmdline_number("exhaust", 3000), root = user_root(NULL), i;
	int64_t r = 0;

	for (i = 0; i < n && !r; i++)
		r = hv(SEGUE_PV_CONTEXT_CREATE, root, 100000 + i, 0);
	note("contexts in one root", r ? i - 1 : i);
	if (r)
		EXPECT_EQ(r, SEGUE_PV_ENOMEM);
	for (uint64_t k = 0; k < i; k++)
		hv(SEGUE_PV_CONTEXT_DESTROY, 100000 + k, 0, 0);
	r = 0;
	for (i = 0; i < n && !r && pages_left() > 64; i++) {
		root = root_new();
		r = hv(SEGUE_PV_CONTEXT_CREATE, root, 100000 + i, 0);
	}
	note("roots with a context", r ? i - 1 : i);
	if (r)
		EXPECT_EQ(r, SEGUE_PV_ENOMEM);
	/* Still alive; and with some of them gone, there is room again. */
	EXPECT_EQ(hv(SEGUE_PV_VERSION_GET, 0, 0, 0), SEGUE_PV_VERSION);
	for (uint64_t k = 0; k < i; k++)
		EXPECT(hv(SEGUE_PV_CONTEXT_DESTROY, 100000 + k, 0, 0) == 0 || k == i - 1);
	user_reset();
	memory_reset();
	RUN(space_contexts());
}

/* 2^39 bytes, a page here and there. */
static void space_sparse(void)
{
	uint64_t n = cmdline_number("sparse", 1000), page = page_new(), seed = 77, i;
	static uint64_t places[4096];
	struct program p;

	if (n > sizeof(places) / sizeof(*places))
		n = sizeof(places) / sizeof(*places);
	EXPECT(program_new(&p, u_syscall));
	for (i = 0; i < n && pages_left() > 64; i++) {
		uint64_t va = random_next(&seed) % (SEGUE_PV_VA_END >> 12) << 12;

		if (va < 0x40000000)
			va += 0x40000000;
		places[i] = va;
		map(p.root, va, page, U_RW);
		RUN(access_at(p.id, u_write, va + i % 512 * 8, i, NONE));
	}
	/* All are the same page: the last words written are seen from any of them. */
	n = i;
	EXPECT(n >= 512);
	for (i = n - 512; i < n; i++)
		RUN(read_at(p.id, places[n - 1 - i] + i % 512 * 8, i));
	EXPECT_EQ(hv(SEGUE_PV_FLUSH, p.root, 0, SEGUE_PV_VA_END), 0);
	for (i = n - 512; i < n; i++)
		RUN(read_at(p.id, places[i] + i % 512 * 8, i));
}

/* More pages than a host gives one process mappings, touched at random. */
static void space_evict(void)
{
	uint64_t n = cmdline_number("evict", 131072), pages = 4096, base, sum = 0;
	uint64_t touches = cmdline_number("touches", 400000), begin;
	struct program p;

	while (n & (n - 1)) /* a power of two */
		n &= n - 1;
	if (pages_left() < pages + n / 512 + 64) {
		skip("too little memory");
		return;
	}
	base = pages_new(pages);
	EXPECT(program_new(&p, u_touch));
	for (uint64_t i = 0; i < pages; i++) {
		((uint64_t *)at(base + i * PAGE))[0] = i;
		((uint64_t *)at(base + i * PAGE))[1] = 0;
	}
	for (uint64_t i = 0; i < n; i++)
		map(p.root, 0x100000000ull + i * PAGE, base + (i * 77 & (pages - 1)) * PAGE,
		    U_RW);
	begin = clock_ns();
	user_load(u_touch);
	user->regs.rdi = 0x100000000ull;
	user->regs.rsi = n - 1;
	user->regs.rcx = touches;
	user->regs.r8 = 77;
	user->regs.r9 = pages - 1;
	user->regs.rbx = 0x123456789;
	EXPECT_EQ(enter(p.id), SEGUE_PV_SYSCALL);
	if (user->number != SYS_DONE)
		fail_values("a page is another", user->arguments[1], user->arguments[2]);
	note("ns a touch", (clock_ns() - begin) / touches);
	for (uint64_t i = 0; i < pages; i++)
		sum += ((uint64_t *)at(base + i * PAGE))[1];
	EXPECT_EQ(sum, touches);
}

const struct probe_case space_cases[] = {
    {"space-apart", space_apart},
    {"space-shared", space_shared},
    {"space-copy-on-write", space_copy_on_write},
    {"space-flush", space_flush},
    {"space-tables", space_tables},
    {"space-many", space_many},
    {"space-contexts", space_contexts},
    {"space-exhaust", space_exhaust},
    {"space-sparse", space_sparse},
    {"space-evict", space_evict},
    {NULL, NULL},
};
