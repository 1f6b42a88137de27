/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

#include "pv_rig.h"
#include "vmm/engine/pv/shim.h"
#include "vmm/engine/pv/sigframe.h"

/*
 * Guest code that tries to get out: what it makes is a stop that the monitor sees, or its own
 * end. A sibling in the same domain, and the domain's mappings, go on as if nothing was.
 */
struct prison {
	struct rig rig;
	struct pv_domain *domain;
	struct pv_context *sibling, *culprit;
};

static void prison_make(struct prison *p)
{
	CU_ASSERT_EQUAL_FATAL(rig_make(&p->rig), 0);
	p->domain = rig_domain(&p->rig);
	p->sibling = rig_context(&p->rig, p->domain, code_calls, 0);
	p->culprit = rig_context(&p->rig, p->domain, code_calls, 0);
}

static void prison_check(struct prison *p)
{
	struct pv_stop stop;

	rig_check(&p->rig, p->sibling);
	CU_ASSERT_EQUAL(rig_map(&p->rig, p->domain, RIG_FREE, RIG_FREE_OFFSET, 1, PROT_READ),
			0);
	rig_start(&p->rig, p->sibling, code_read, RIG_FREE);
	CU_ASSERT_EQUAL(rig_run(p->sibling).kind, PV_STOP_SYSCALL);
	CU_ASSERT_EQUAL(pv_domain_unmap(p->domain, RIG_FREE, RIG_FREE + 4096, &p->rig.err), 0);
	rig_start(&p->rig, p->sibling, code_read, RIG_FREE);
	stop = rig_run(p->sibling);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
	CU_ASSERT_EQUAL(stop.trap.address, RIG_FREE);
}

static void prison_end(struct prison *p)
{
	prison_check(p);
	pv_domain_destroy(p->domain);
	rig_end(&p->rig);
}

static void renew(struct prison *p)
{
	pv_context_destroy(p->culprit);
	p->culprit = NULL;
	CU_ASSERT_EQUAL_FATAL(pv_context_create(p->domain, &p->culprit, &p->rig.err), 0);
}

static struct pv_stop attempt(struct prison *p, const struct segue_pv_regs *regs)
{
	struct pv_stop stop;

	if (pv_context_set(p->culprit, regs, NULL, 0, NULL) < 0) {
		renew(p);
		CU_ASSERT_EQUAL_FATAL(pv_context_set(p->culprit, regs, NULL, 0, NULL), 0);
	}
	stop = rig_run(p->culprit);
	if (stop.kind == PV_STOP_LOST)
		renew(p);
	return stop;
}

/* ---- other ways to make a system call ---- */

static void test_abis(void)
{
	struct prison p;
	struct pv_stop stop;
	struct segue_pv_regs regs;

	prison_make(&p);
	regs = rig_regs(code_int80, 0);
	for (int i = 0; i < 2; i++) {
		stop = attempt(&p, &regs);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
		CU_ASSERT_EQUAL(stop.trap.vector, SEGUE_PV_VECTOR_GP);
		CU_ASSERT_EQUAL(stop.rip, rig_at(code_int80_at));
	}
	/* Without a set, the same instruction again. */
	stop = rig_run(p.culprit);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
	CU_ASSERT_EQUAL(stop.rip, rig_at(code_int80_at));

	regs = rig_regs(code_x32, 0);
	stop = attempt(&p, &regs);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
	CU_ASSERT_EQUAL(stop.number, 0x400000e7);

	regs = rig_regs(code_sysenter, 0); /* #UD on AMD, 32-bit on Intel */
	CU_ASSERT_EQUAL(attempt(&p, &regs).kind, PV_STOP_TRAP);

	/* Where 32-bit code can be had at all. */
	regs = rig_regs(code_compat, 0);
	if (rig_native_signal(&p.rig, code_compat, SIGKILL)) {
		printf("(no far return here) ");
	} else {
		stop = attempt(&p, &regs);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
		CU_ASSERT_EQUAL(stop.trap.vector, SEGUE_PV_VECTOR_GP);
	}

	/* Emulated by the kernel with its own filter check, or not there. */
	regs = rig_regs(code_vsyscall, 0);
	stop = attempt(&p, &regs);
	CU_ASSERT(stop.kind == PV_STOP_TRAP || stop.kind == PV_STOP_LOST ||
		  (stop.kind == PV_STOP_SYSCALL && stop.number == SYS_time));
	prison_end(&p);
}

/* Real numbers of the host's, that would show: none is made. */
static void test_numbers(void)
{
	static const uint64_t numbers[] = {
	    SYS_exit_group, SYS_exit,         SYS_kill,   SYS_fork,  SYS_vfork,
	    SYS_munmap,     SYS_rt_sigreturn, SYS_execve, SYS_clone, SYS_prctl,
	    SYS_seccomp,    SYS_sigaltstack,  ~0u,        0xffff};
	struct prison p;
	struct segue_pv_regs regs;
	struct pv_stop stop;

	prison_make(&p);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		regs = rig_regs(code_return, RIG_CODE); /* munmap's first argument */
		regs.rsi = 4096;
		regs.rax = numbers[i];
		stop = attempt(&p, &regs);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
		CU_ASSERT_EQUAL(stop.number, numbers[i]);
	}
	prison_end(&p);
}

/* ---- into the shim ---- */

static atomic_bool quit;
static pthread_mutex_t running_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pv_context *running;
static uint64_t running_since; /* a count of runs */

/* Whatever runs for 5 ms is kicked. */
static void *kick_slow(void *data)
{
	const struct timespec pause = {.tv_nsec = 5000000};
	uint64_t before = 0;

	(void)data;
	while (!atomic_load(&quit)) {
		nanosleep(&pause, NULL);
		pthread_mutex_lock(&running_lock);
		if (running && running_since == before)
			pv_context_kick(running);
		before = running_since;
		pthread_mutex_unlock(&running_lock);
	}
	return NULL;
}

static void now_running(struct pv_context *context)
{
	pthread_mutex_lock(&running_lock);
	running = context;
	running_since++;
	pthread_mutex_unlock(&running_lock);
}

static struct pv_stop watched(struct prison *p, const struct segue_pv_regs *regs)
{
	struct pv_stop stop = {.kind = PV_STOP_LOST};

	if (pv_context_set(p->culprit, regs, NULL, 0, NULL) < 0) {
		renew(p);
		CU_ASSERT_EQUAL_FATAL(pv_context_set(p->culprit, regs, NULL, 0, NULL), 0);
	}
	now_running(p->culprit);
	pv_context_run(p->culprit, &stop);
	now_running(NULL);
	return stop;
}

/* Every byte, with registers that would do harm if a system call in there were let through. */
static void test_every_byte(void)
{
	static const uint64_t numbers[] = {SYS_exit_group, SYS_munmap, PV_CALL_STOP, 0};
	uint64_t len = (uint64_t)(__stop_pvshim - __start_pvshim), lost = 0;
	struct prison p;
	struct segue_pv_regs regs;
	struct pv_stop stop;
	pthread_t thread;

	prison_make(&p);
	atomic_store(&quit, false);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, kick_slow, NULL), 0);
	for (uint64_t at = 0; at < len + 16; at++) {
		regs = rig_regs(code_ud, PV_SHIM); /* munmap's first argument, prctl's, ... */
		regs.rip = PV_SHIM + at;
		regs.rax = numbers[at % 4];
		regs.rsi = 0x100000;
		regs.rdx = 1;
		regs.rbx = regs.r12 = RIG_DATA;
		regs.rbp = 1;
		stop = watched(&p, &regs);
		if (stop.kind == PV_STOP_LOST) {
			lost++;
			renew(&p);
		}
		if (at % 64 == 0)
			prison_check(&p);
	}
	atomic_store(&quit, true);
	pthread_join(thread, NULL);
	printf("(%lu places, %lu ends) ", (unsigned long)len, (unsigned long)lost);
	prison_end(&p);
}

/* At each system call instruction in there, with the number of a real one. */
static void test_instructions(void)
{
	const uint8_t *code = __start_pvshim;
	uint64_t len = (uint64_t)(__stop_pvshim - __start_pvshim), found = 0;
	struct prison p;
	struct segue_pv_regs regs;
	struct pv_stop stop;

	prison_make(&p);
	for (uint64_t at = 0; at + 1 < len; at++) {
		if (code[at] != 0x0f || code[at + 1] != 0x05)
			continue;
		found++;
		regs = rig_regs(code_ud, 0);
		regs.rip = PV_SHIM + at;
		regs.rax = SYS_exit_group;
		stop = attempt(&p, &regs);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
		CU_ASSERT_EQUAL(stop.number, SYS_exit_group);
		CU_ASSERT_EQUAL(stop.rip, PV_SHIM + at + 2);
	}
	CU_ASSERT(found > 6);
	prison_end(&p);
}

static struct segue_pv_regs at_call(const unsigned char *ip, uint64_t number)
{
	struct segue_pv_regs regs = rig_regs(code_ud, 0);

	regs.rip = pv_shim_address(ip) - 2;
	regs.rax = number;
	return regs;
}

/* The calls that trusted code makes, made by a guest, word by word. */
static void test_trusted_calls(void)
{
	struct prison p;
	struct segue_pv_regs regs;
	struct pv_stop stop;

	prison_make(&p);
	regs = at_call(shim_clone_ip, SYS_clone);
	regs.rdi = PV_CLONE_FLAGS;
	regs.rsi = PV_AREAS + 3 * PV_AREA_SIZE;
	stop = attempt(&p, &regs);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
	CU_ASSERT_EQUAL(stop.number, SYS_clone);
	regs = at_call(shim_prctl_ip, SYS_prctl);
	regs.rdi = 1;
	regs.rsi = SIGKILL;
	stop = attempt(&p, &regs);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
	CU_ASSERT_EQUAL(stop.number, SYS_prctl);
	regs = at_call(shim_template_ip, PV_CALL_TEMPLATE);
	stop = attempt(&p, &regs);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
	regs = at_call(shim_next_ip, PV_CALL_NEXT);
	stop = attempt(&p, &regs);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
	prison_end(&p);
}

/* ---- stops and frames that never were ---- */

static void test_forged_stops(void)
{
	static const uint64_t frames[] = {
	    0,
	    1,
	    PV_SHIM,
	    PV_ORDERS,
	    PV_AREAS - 8,
	    PV_AREAS,
	    PV_AREAS + PV_AREA_SIZE,
	    PV_AREAS + 2 * PV_AREA_SIZE - 8,
	    PV_AREAS + PV_AREA_SIZE + 4,
	    RIG_DATA,
	    ~0ull,
	    1ull << 63,
	};
	struct prison p;
	struct segue_pv_regs regs;
	struct pv_stop stop;
	uint64_t own = 0;

	prison_make(&p);
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		regs = at_call(shim_stop_ip, PV_CALL_STOP);
		regs.rdi = SIGSEGV;
		regs.rsi = frames[i];
		stop = attempt(&p, &regs);
		CU_ASSERT(stop.kind == PV_STOP_LOST || stop.kind == PV_STOP_TRAP);
		rig_check(&p.rig, p.sibling);
		/* And it can be resumed, into whatever it made up. */
		if (stop.kind == PV_STOP_TRAP) {
			own++;
			stop = rig_run(p.culprit);
			CU_ASSERT(stop.kind == PV_STOP_LOST || stop.kind == PV_STOP_TRAP);
		}
	}
	CU_ASSERT(own >= 1); /* in its own area it may */
	prison_end(&p);
}

/*
 * A frame of guest code's own making in its memory, and a jump to the one instruction that
 * may return from signals: registers as of REGS, MASK blocked, signals to STACK.
 */
static void forge(struct prison *p, const struct segue_pv_regs *regs, uint64_t mask,
		  uint64_t stack, struct segue_pv_regs *ret_regs)
{
	uint64_t va = RIG_DATA + 4096;
	struct pv_sigframe *frame = (struct pv_sigframe *)(p->rig.ram + RIG_DATA_OFFSET + 4096);

	memset(frame, 0, sizeof(*frame));
	frame->flags = PV_SIGFRAME_FLAGS & ~1u;
	frame->mask = mask;
	frame->stack = stack;
	frame->stack_size = 8192;
	frame->registers.ip = regs->rip;
	frame->registers.sp = regs->rsp;
	frame->registers.di = regs->rdi;
	frame->registers.flags = regs->rflags;
	frame->registers.cs = PV_SIGFRAME_USER_CS;
	frame->registers.ss = PV_SIGFRAME_USER_SS;
	*ret_regs = at_call(shim_sigreturn_ip, SYS_rt_sigreturn);
	ret_regs->rsp = va + 8;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *kick_once(void *data)
{
	const struct timespec pause = {.tv_nsec = 20000000};

	nanosleep(&pause, NULL);
	pv_context_kick(data);
	return NULL;
}

/* All signals blocked, then forever: the kick does not reach it. */
static void test_unstoppable(void)
{
	struct prison p;
	struct segue_pv_regs regs = rig_regs(code_spin, 0), forged;
	struct pv_stop stop;
	pthread_t thread;
	double start;

	prison_make(&p);
	forge(&p, &regs, ~0ull, 0, &forged);
	CU_ASSERT_EQUAL(pv_context_set(p.culprit, &forged, NULL, 0, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, kick_once, p.culprit), 0);
	start = seconds();
	stop = rig_run(p.culprit);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_LOST);
	CU_ASSERT(seconds() - start > 0.9 && seconds() - start < PV_STARVED_MS / 1000.0);
	pthread_join(thread, NULL);
	CU_ASSERT_EQUAL(rig_run(p.culprit).kind, PV_STOP_LOST);
	prison_check(&p);
	renew(&p);
	/* The same in a system call, where registers are asked for. */
	regs = rig_regs(code_calls, 0);
	forge(&p, &regs, ~0ull, 0, &forged);
	CU_ASSERT_EQUAL(pv_context_set(p.culprit, &forged, NULL, 0, NULL), 0);
	CU_ASSERT_EQUAL(rig_run(p.culprit).kind, PV_STOP_SYSCALL);
	start = seconds();
	CU_ASSERT_EQUAL(pv_context_get(p.culprit, &regs, NULL, NULL, NULL), -EIO);
	CU_ASSERT(seconds() - start < PV_STARVED_MS / 1000.0 + 0.5);
	CU_ASSERT_EQUAL(rig_run(p.culprit).kind, PV_STOP_LOST);
	/* And where its domain is used again: at once. */
	renew(&p);
	CU_ASSERT_EQUAL(pv_context_set(p.culprit, &forged, NULL, 0, NULL), 0);
	CU_ASSERT_EQUAL(rig_run(p.culprit).kind, PV_STOP_SYSCALL);
	start = seconds();
	renew(&p);
	CU_ASSERT(seconds() - start < 0.2);
	rig_check(&p.rig, p.culprit);
	prison_end(&p);
}

/* A fault with its signal blocked, or with nowhere to put the frame: its end, told at once. */
static void test_own_end(void)
{
	struct prison p;
	struct segue_pv_regs regs = rig_regs(code_ud, 0), forged;
	double start = seconds();

	prison_make(&p);
	forge(&p, &regs, ~0ull, 0, &forged);
	CU_ASSERT_EQUAL(attempt(&p, &forged).kind, PV_STOP_LOST);
	forge(&p, &regs, 0, 0x7000000000, &forged);
	CU_ASSERT_EQUAL(attempt(&p, &forged).kind, PV_STOP_LOST);
	/* Signals to where guest code wants them: a frame out of place. */
	forge(&p, &regs, 0, RIG_DATA, &forged);
	CU_ASSERT_EQUAL(attempt(&p, &forged).kind, PV_STOP_LOST);
	CU_ASSERT(seconds() - start < 1);
	/* The next has none of that. */
	regs = rig_regs(code_ud, 0);
	for (int i = 0; i < 2; i++)
		CU_ASSERT_EQUAL(attempt(&p, &regs).kind, PV_STOP_TRAP);
	prison_end(&p);
}

/* What is ours cannot be written, and what can be is the context's own frame area. */
static void test_memory(void)
{
	static const uint64_t ours[] = {PV_SHIM,   PV_SHIM + 4096,
					PV_ORDERS, PV_ORDERS + 8192,
					PV_STACK,  PV_AREAS + 2 * PV_AREA_SIZE};
	struct prison p;
	struct segue_pv_regs regs;
	struct pv_stop stop;

	prison_make(&p);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		regs = rig_regs(code_write, ours[i]);
		stop = attempt(&p, &regs);
		CU_ASSERT_EQUAL(stop.kind, PV_STOP_TRAP);
		CU_ASSERT_EQUAL(stop.trap.vector, SEGUE_PV_VECTOR_PF);
		CU_ASSERT_EQUAL(stop.trap.address, ours[i]);
	}
	/* Orders leave nothing to read. */
	regs = rig_regs(code_read, PV_ORDERS + 8);
	stop = attempt(&p, &regs);
	CU_ASSERT_EQUAL(stop.kind, PV_STOP_SYSCALL);
	CU_ASSERT_EQUAL(stop.number, 0);
	prison_end(&p);
}

static CU_pSuite add(void)
{
	CU_pSuite suite = CU_add_suite("pv-domain-break", NULL, NULL);

	if (!suite || !CU_add_test(suite, "other system calls", test_abis) ||
	    !CU_add_test(suite, "numbers", test_numbers) ||
	    !CU_add_test(suite, "every byte of the shim", test_every_byte) ||
	    !CU_add_test(suite, "its instructions", test_instructions) ||
	    !CU_add_test(suite, "its trusted calls", test_trusted_calls) ||
	    !CU_add_test(suite, "forged stops", test_forged_stops) ||
	    !CU_add_test(suite, "blocked signals", test_unstoppable) ||
	    !CU_add_test(suite, "own end", test_own_end) ||
	    !CU_add_test(suite, "memory", test_memory))
		return NULL;
	return suite;
}

int main(void)
{
	return rig_main(add);
}
