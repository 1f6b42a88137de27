/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever the host has mapped beside a program's memory: found by looking, read, written,
 * jumped into at every byte, and its system call instructions used with other numbers and with
 * forged frames. A program may lose itself that way; nothing else may change.
 */
#include "escape.h"

extern const char u_read[], u_write[], u_jump[], u_jump_r15[], u_spin[];

#define SYS_DONE     1
#define SITES        64u
#define NR_SIGRETURN 15u

/* Of a host's signal frame, as rt_sigreturn finds it at RSP (Linux, x86-64). */
struct host_frame {
	uint64_t flags, link, stack[3];
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp;
	uint64_t rip, rflags, selectors, error, vector, old_mask, cr2, fpstate, reserved[8];
	uint64_t mask;
};
#define SELECTORS64 0x002b000000000033ull /* SS, FS, GS, CS of a Linux program */
#define SELECTORS32 0x002b000000000023ull

static uint64_t read_page(struct program *p, uint64_t va)
{
	user_load(u_read);
	user->regs.rdi = va;
	return escape_run(p) && escape_reason == SEGUE_PV_SYSCALL ? user->arguments[0] : 0;
}

/* Copies what a program sees at VA; the page was readable a moment ago. */
static void copy_page(struct program *p, uint64_t va, uint64_t *to)
{
	for (unsigned i = 0; i < PAGE / 8; i++)
		to[i] = read_page(p, va + i * 8);
}

/* Where in the pages found the two bytes of SYSCALL are. */
static unsigned find_calls(struct program *p, const struct found *found, uint64_t *sites)
{
	static uint64_t words[PAGE / 8];
	unsigned n = 0;

	for (unsigned k = 0; k < found->n && k < 16; k++) {
		const uint8_t *bytes = (const uint8_t *)words;

		copy_page(p, found->pages[k], words);
		for (unsigned i = 0; i + 1 < PAGE && n < SITES; i++)
			if (bytes[i] == 0x0f && bytes[i + 1] == 0x05)
				sites[n++] = found->pages[k] + i;
	}
	return n;
}

static const struct found *begin(struct program *p)
{
	const struct found *found;

	escape_patience = 5 * MS;
	escape_witness_new();
	found = failed() ? NULL : escape_find();
	if (found && !program_new(p, u_read))
		fail("no context");
	if (found && !found->n)
		skip("nothing is mapped above VA_END");
	return failed() ? NULL : found;
}

static void finish(void)
{
	escape_patience = 1000 * MS;
	escape_witness_check();
}

/* What is there, and that no page can be both written and executed. */
static void shim_pages(void)
{
	struct program p;
	const struct found *found = begin(&p);
	unsigned written = 0, executed = 0;

	if (!found)
		return;
	for (unsigned i = 0; i < found->n; i++) {
		uint64_t va = found->pages[i], before = read_page(&p, va);
		bool writable, executable;

		user_load(u_write);
		user->regs.rdi = va;
		user->regs.rsi = before;
		EXPECT(escape_run(&p));
		writable = escape_reason == SEGUE_PV_SYSCALL && user->number == SYS_DONE;
		user_load(u_jump);
		user->regs.rdi = va;
		EXPECT(escape_run(&p));
		executable = !(escape_reason == SEGUE_PV_TRAP &&
			       user->trap.vector == SEGUE_PV_VECTOR_PF &&
			       user->trap.error & SEGUE_PV_PF_FETCH);
		EXPECT(!writable || !executable);
		written += writable;
		executed += executable;
	}
	note("pages readable", found->n);
	note("pages writable", written);
	note("pages executable", executed);
	finish();
}

/* Every byte of the first pages as an entry point. */
static void shim_jump(void)
{
	uint64_t step = cmdline_number("step", 1), pages = cmdline_number("pages", 2), lost = 0;
	struct program p;
	const struct found *found = begin(&p);

	if (!found)
		return;
	for (uint64_t i = 0; i < found->n && i < pages; i++)
		for (uint64_t offset = 0; offset < PAGE; offset += step) {
			user_load(u_jump);
			user->regs.rdi = found->pages[i] + offset;
			user->regs.rax = offset % 600;
			user->regs.rbx = USER_DATA;
			user->regs.r12 = USER_DATA;
			user->regs.rbp = 1;
			EXPECT(escape_run(&p));
			lost += escape_reason == SEGUE_PV_TRAP &&
				user->trap.vector == SEGUE_PV_VECTOR_LOST;
			if (offset % 256 == 0)
				RUN(escape_witness_check());
		}
	note("contexts lost", lost);
	finish();
}

/* The host's own system call instructions, with every number. */
static void shim_calls(void)
{
	static uint64_t sites[SITES];
	struct program p;
	const struct found *found = begin(&p);
	unsigned n;

	if (!found)
		return;
	n = find_calls(&p, found, sites);
	note("system call instructions", n);
	escape_strings(at(p.data));
	for (unsigned i = 0; i < n; i++)
		for (uint64_t number = 0; number <= HOST_CALLS; number++) {
			uint64_t args[6];

			user_load(u_jump_r15);
			escape_arguments(number, (unsigned)number % ESCAPE_WAYS, USER_DATA,
					 args);
			user->regs.rax = number;
			user->regs.r15 = sites[i];
			user->regs.rdi = args[0];
			user->regs.rsi = args[1];
			user->regs.rdx = args[2];
			user->regs.r10 = args[3];
			user->regs.r8 = args[4];
			user->regs.r9 = args[5];
			EXPECT(escape_run(&p));
		}
	finish();
}

/* Calls that only the host's own code there makes, with numbers and frames made up. */
static void shim_forged_stops(void)
{
	static uint64_t sites[SITES];
	struct program p;
	const struct found *found = begin(&p);
	uint64_t seed = cmdline_number("seed", 5), area;
	unsigned n;

	if (!found)
		return;
	n = find_calls(&p, found, sites);
	area = found->pages[found->n - 1];
	for (unsigned round = 0; round < 3000; round++) {
		const uint64_t frames[] = {
		    0,
		    USER_DATA,
		    USER_STACK,
		    ~0ull,
		    1ull << 63,
		    area,
		    area + PAGE - 8,
		    found->pages[0],
		    SEGUE_PV_DIRECT,
		    found->pages[found->n / 2] + 8,
		};
		uint64_t x = random_next(&seed);

		user_load(u_jump_r15);
		user->regs.r15 = sites[x % n];
		user->regs.rax = 0x5e90000 + (x >> 8 & 15);
		user->regs.rdi = x >> 16 & 1 ? x >> 17 & 127 : x;
		user->regs.rsi = frames[(x >> 24) % 10] + (x >> 40 & 0xff8);
		user->regs.rdx = frames[(x >> 28) % 10];
		user->regs.r10 = x;
		EXPECT(escape_run(&p));
		if (round % 100 == 0)
			RUN(escape_witness_check());
	}
	finish();
}

static void plain_frame(struct host_frame *f)
{
	memset(f, 0, sizeof(*f));
	f->rip = user_at(u_spin);
	f->rsp = USER_STACK + PAGE - 64;
	f->rdi = USER_DATA;
	f->rflags = 0x202;
	f->selectors = SELECTORS64;
}

/* One forged frame: loaded by the host's own rt_sigreturn, then the program loops. */
static void sigreturn(struct program *p, uint64_t site, const struct host_frame *f)
{
	memcpy(at(p->data + 0x200), f, sizeof(*f));
	/* The host reads it by itself, which fills in nothing: there it has to be before. */
	user_load(u_read);
	EXPECT(escape_run(p));
	user_load(u_jump_r15);
	user->regs.r15 = site;
	user->regs.rax = NR_SIGRETURN;
	user->regs.rsp = USER_DATA + 0x200;
	EXPECT(escape_run(p));
	RUN(escape_witness_check());
}

/*
 * The call that loads registers, from each instruction there, so also from the one where it is
 * let through: with all signals blocked, segments, flags and floating point state that no
 * program should have, and addresses of the host.
 */
static void shim_sigreturn(void)
{
	static uint64_t sites[SITES];
	struct program p;
	const struct found *found = begin(&p);
	struct host_frame f;
	unsigned n, loaded = 0;

	if (!found)
		return;
	n = find_calls(&p, found, sites);
	for (unsigned i = 0; i < n; i++) {
		*(uint64_t *)at(p.data) = 0;
		plain_frame(&f);
		RUN(sigreturn(&p, sites[i], &f));
		loaded += *(volatile uint64_t *)at(p.data) != 0;
		f.mask = ~0ull; /* nobody can interrupt it now, but by force */
		RUN(sigreturn(&p, sites[i], &f));
		plain_frame(&f);
		f.selectors = SELECTORS32;
		RUN(sigreturn(&p, sites[i], &f));
		plain_frame(&f);
		f.selectors = 0x0008000000000010ull; /* the host kernel's */
		RUN(sigreturn(&p, sites[i], &f));
		plain_frame(&f);
		f.rflags = ~0ull;
		RUN(sigreturn(&p, sites[i], &f));
		plain_frame(&f);
		f.rip = 0xffffffff81000000ull;
		RUN(sigreturn(&p, sites[i], &f));
		plain_frame(&f);
		f.fpstate = 0xffffffff81000000ull;
		RUN(sigreturn(&p, sites[i], &f));
		plain_frame(&f);
		f.fpstate = USER_DATA + 8; /* not aligned, and nonsense */
		RUN(sigreturn(&p, sites[i], &f));
		plain_frame(&f);
		f.stack[0] = USER_DATA; /* the host's alternate stack */
		f.stack[2] = 2048;
		RUN(sigreturn(&p, sites[i], &f));
		plain_frame(&f);
		f.stack[1] = 2; /* SS_DISABLE: no alternate stack any more */
		f.rip = user_at(u_read);
		f.rdi = 0x30000000;
		f.rsp = 0x30000000;
		RUN(sigreturn(&p, sites[i], &f));
	}
	note("places that load forged frames", loaded);
	finish();
}

/* One thread writes all over what the host keeps there of another, which is stopped. */
static void shim_scribble(void)
{
	struct program p, q;
	const struct found *found = begin(&p);

	if (!found)
		return;
	q = p;
	for (unsigned round = 0; round < 3; round++) {
		q.id = context_new(p.root);
		EXPECT(q.id != ~0ull);
		user_load(u_read);
		user->regs.rdi = 0x30000000; /* stops in a fault */
		EXPECT(escape_run(&q));
		for (unsigned i = 0; i < found->n; i++)
			for (unsigned word = 0; word < PAGE / 8; word += 3) {
				user_load(u_write);
				user->regs.rdi = found->pages[i] + word * 8;
				user->regs.rsi = round == 0   ? ~0ull
						 : round == 1 ? 0
							      : 0x4141414141;
				EXPECT(escape_run(&p));
				if (escape_reason != SEGUE_PV_SYSCALL)
					break; /* not writable */
			}
		set_timer(clock_ns() + escape_patience);
		user->action = SEGUE_PV_CONTINUE;
		enter(q.id);
		pending_clear(TIMER);
		hv(SEGUE_PV_GET_USER, q.id, 0, 0);
		user_load(u_read);
		user->regs.rdi = USER_DATA;
		escape_run(&q);
		context_end(q.id);
	}
	finish();
}

/* Stack pointers in there, and then a fault: where the host wants to put its frame. */
static void shim_stack(void)
{
	struct program p;
	const struct found *found = begin(&p);
	uint64_t lost = 0;

	if (!found)
		return;
	for (unsigned i = 0; i < found->n; i++)
		for (unsigned offset = 0; offset < PAGE; offset += 328) {
			user_load(u_read);
			user->regs.rdi = 0x30000000;
			user->regs.rsp = found->pages[i] + offset;
			EXPECT(escape_run(&p));
			lost += escape_reason == SEGUE_PV_TRAP &&
				user->trap.vector == SEGUE_PV_VECTOR_LOST;
			if (offset == 0)
				RUN(escape_witness_check());
		}
	note("contexts lost", lost);
	finish();
}

const struct probe_case shim_cases[] = {
    {"shim-pages", shim_pages},         {"shim-jump", shim_jump},
    {"shim-calls", shim_calls},         {"shim-forged-stops", shim_forged_stops},
    {"shim-sigreturn", shim_sigreturn}, {"shim-scribble", shim_scribble},
    {"shim-stack", shim_stack},         {NULL, NULL},
};
