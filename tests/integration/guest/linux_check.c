// SPDX-License-Identifier: Apache-2.0
/*
 * What programs expect of a Linux, tried inside a guest, one line a case: signals with all
 * registers, memory rights, threads, forks, tracing. For test_pv_linux.py; runs on any Linux.
 */
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u

#define EXPECT(condition)                                                                       \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			printf("  line %d: %s (errno %d)\n", __LINE__, #condition, errno);      \
			return false;                                                           \
		}                                                                               \
	} while (0)

/* ---- faults ---- */

static sigjmp_buf back;
static volatile int got_signal, got_code;
static void *volatile got_address;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)context;
	got_signal = signal;
	got_code = info->si_code;
	got_address = info->si_addr;
	siglongjmp(back, 1);
}

static void catch_faults(void)
{
	const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

/* What ATTEMPT is answered with: "signal/code", or 0. */
static int fault_of(void (*attempt)(void *), void *argument)
{
	got_signal = 0;
	got_code = 0;
	got_address = NULL;
	if (!sigsetjmp(back, 1))
		attempt(argument);
	return got_signal;
}

static void *pages(size_t n, int rights)
{
	return mmap(NULL, n * PAGE, rights, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void read_it(void *at)
{
	(void)*(volatile char *)at;
}

static void write_it(void *at)
{
	*(volatile char *)at = 1;
}

static void call_it(void *at)
{
	((void (*)(void))at)();
}

static void divide(void *unused)
{
	volatile int zero = 0, one = 1;

	(void)unused;
	one /= zero;
}

static void bad_instruction(void *unused)
{
	(void)unused;
	asm volatile("ud2");
}

static void breakpoint(void *unused)
{
	(void)unused;
	asm volatile("int3");
}

static void not_canonical(void *unused)
{
	(void)unused;
	read_it((void *)0x8000000000000000ull);
}

static bool case_faults(void)
{
	char *p = pages(3, PROT_READ);

	EXPECT(fault_of(read_it, p) == 0);
	EXPECT(fault_of(write_it, p + 5) == SIGSEGV && got_code == SEGV_ACCERR);
	EXPECT(got_address == p + 5);
	munmap(p, PAGE);
	EXPECT(fault_of(read_it, p) == SIGSEGV && got_code == SEGV_MAPERR);
	EXPECT(fault_of(read_it, NULL) == SIGSEGV);
	EXPECT(fault_of(read_it, (void *)0x60000000) == SIGSEGV);
	EXPECT(fault_of(divide, NULL) == SIGFPE && got_code == FPE_INTDIV);
	EXPECT(fault_of(bad_instruction, NULL) == SIGILL);
	EXPECT(fault_of(breakpoint, NULL) == SIGTRAP);
	EXPECT(fault_of(not_canonical, NULL) == SIGSEGV);
	return true;
}

static bool case_rights(void)
{
	unsigned char *p = pages(2, PROT_READ | PROT_WRITE);
	int out = open("/dev/zero", O_RDONLY);

	*p = 0xc3; /* ret */
	EXPECT(fault_of(call_it, p) == SIGSEGV && got_code == SEGV_ACCERR);
	EXPECT(!mprotect(p, PAGE, PROT_READ | PROT_EXEC) && fault_of(call_it, p) == 0);
	EXPECT(fault_of(write_it, p) == SIGSEGV);
	EXPECT(!mprotect(p, PAGE, PROT_READ | PROT_WRITE) && fault_of(write_it, p) == 0);
	EXPECT(!mprotect(p, PAGE, PROT_NONE) && fault_of(read_it, p) == SIGSEGV);
	EXPECT(write(1, p, 1) < 0 && errno == EFAULT);
	EXPECT(read(out, p, 1) < 0 && errno == EFAULT);
	EXPECT(!mprotect(p, PAGE, PROT_READ) && *p == 1);
	EXPECT(read(out, p, 1) < 0 && errno == EFAULT);
	close(out);
	return true;
}

static bool case_file_mapping(void)
{
	char name[] = "/tmp/linux-check-XXXXXX", byte;
	int fd = mkstemp(name);
	char *p;

	EXPECT(fd >= 0 && !unlink(name) && !ftruncate(fd, PAGE));
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	EXPECT(p != MAP_FAILED && *p == 0);
	p[7] = 'x';
	EXPECT(pread(fd, &byte, 1, 7) == 1 && byte == 'x');
	EXPECT(pwrite(fd, "y", 1, 7) == 1 && p[7] == 'y');
	EXPECT(!msync(p, PAGE, MS_SYNC));
	p[7] = 'z';
	EXPECT(pread(fd, &byte, 1, 7) == 1 && byte == 'z');
	EXPECT(fault_of(read_it, p + PAGE) == SIGBUS);
	close(fd);
	return true;
}

/* ---- signals and registers ---- */

static volatile sig_atomic_t ticks;

/* Spoils all it can, as a handler may. */
static void on_tick(int signal)
{
	(void)signal;
	asm volatile("pcmpeqd %%xmm0, %%xmm0; pcmpeqd %%xmm7, %%xmm7; pcmpeqd %%xmm15, %%xmm15;"
		     "fld1; fld1; fmulp; fstp %%st(0)" : : : "xmm0", "xmm7", "xmm15");
	if (__builtin_cpu_supports("avx"))
		asm volatile("vpcmpeqd %%xmm1, %%xmm1, %%xmm1; vzeroall" : : : "xmm1");
	if (__builtin_cpu_supports("avx512f"))
		asm volatile("vpternlogd $255, %zmm20, %zmm20, %zmm20");
	ticks++;
}

static void tick_every(long microseconds)
{
	struct itimerval timer = {{0, microseconds}, {0, microseconds}};

	signal(SIGALRM, on_tick);
	setitimer(ITIMER_REAL, &timer, NULL);
}

__attribute__((target("avx"))) static bool avx_kept(void)
{
	double in[4] = {1.5, 2.5, 3.5, 4.5}, out[4];

	for (int round = 0; round < 20000; round++) {
		asm volatile("vmovupd %1, %%ymm7; vmovupd %1, %%ymm12;"
			     "mov $300, %%ecx; 1: dec %%ecx; jnz 1b;"
			     "vaddpd %%ymm7, %%ymm12, %%ymm12; vmovupd %%ymm12, %0"
			     : "=m"(out) : "m"(in) : "ecx", "xmm7", "xmm12");
		for (int i = 0; i < 4; i++)
			if (out[i] != 2 * in[i])
				return false;
	}
	return true;
}

__attribute__((target("avx512f"))) static bool avx512_kept(void)
{
	uint64_t in[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8];

	for (int round = 0; round < 20000; round++) {
		asm volatile("vmovdqu64 %1, %%zmm20; mov $300, %%ecx; 1: dec %%ecx; jnz 1b;"
			     "vpaddq %%zmm20, %%zmm20, %%zmm20; vmovdqu64 %%zmm20, %0"
			     : "=m"(out) : "m"(in) : "ecx", "xmm20");
		for (int i = 0; i < 8; i++)
			if (out[i] != 2 * in[i])
				return false;
	}
	return true;
}

static bool integers_kept(void)
{
	for (uint64_t round = 1; round < 20000; round++) {
		uint64_t a = round, b = round * 3, c = round * 7;

		asm volatile("mov $300, %%ecx; 1: dec %%ecx; jnz 1b"
			     : "+r"(a), "+r"(b), "+r"(c) : : "ecx", "cc");
		if (b != 3 * a || c != 7 * a)
			return false;
	}
	return true;
}

static bool case_registers(void)
{
	ticks = 0;
	tick_every(300);
	EXPECT(integers_kept());
	if (__builtin_cpu_supports("avx"))
		EXPECT(avx_kept());
	if (__builtin_cpu_supports("avx512f"))
		EXPECT(avx512_kept());
	while (ticks < 20)
		;
	tick_every(0);
	return true;
}

static char *stack_bottom;
static size_t stack_size;
static volatile bool on_own_stack;

static void on_stack(int signal)
{
	char here;

	(void)signal;
	on_own_stack = &here >= stack_bottom && &here < stack_bottom + stack_size;
}

static bool case_signal_stack(void)
{
	stack_t stack = {.ss_size = 65536}, old;
	struct sigaction action = {.sa_handler = on_stack, .sa_flags = SA_ONSTACK};

	stack_size = stack.ss_size;
	stack.ss_sp = stack_bottom = malloc(stack_size);
	EXPECT(!sigaltstack(&stack, NULL) && !sigaction(SIGUSR1, &action, NULL));
	raise(SIGUSR1);
	EXPECT(on_own_stack);
	EXPECT(!sigaltstack(NULL, &old) && old.ss_sp == stack_bottom && !old.ss_flags);
	stack.ss_flags = SS_DISABLE;
	EXPECT(!sigaltstack(&stack, NULL));
	return true;
}

static bool case_interrupted_calls(void)
{
	struct sigaction action = {.sa_handler = on_tick};
	int ends[2];
	char byte;

	EXPECT(!pipe(ends));
	EXPECT(!sigaction(SIGALRM, &action, NULL));
	alarm(1);
	EXPECT(read(ends[0], &byte, 1) < 0 && errno == EINTR);
	action.sa_flags = SA_RESTART;
	EXPECT(!sigaction(SIGALRM, &action, NULL));
	if (fork() == 0) {
		usleep(1500000);
		_exit(write(ends[1], "r", 1) != 1);
	}
	alarm(1);
	EXPECT(read(ends[0], &byte, 1) == 1 && byte == 'r');
	EXPECT(wait(NULL) > 0);
	close(ends[0]);
	close(ends[1]);
	return true;
}

/* ---- processes and threads ---- */

static bool case_fork(void)
{
	int *private = pages(16, PROT_READ | PROT_WRITE), status;
	_Atomic int *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
				   -1, 0);

	*private = 1;
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		EXPECT(pid >= 0);
		if (!pid) {
			*private += i;
			atomic_fetch_add(shared, *private);
			_exit(i);
		}
		EXPECT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == i);
		EXPECT(*private == 1);
	}
	EXPECT(*shared == 20 + 190);
	return true;
}

static bool case_exec(void)
{
	char *arguments[] = {"/proc/self/exe", "--answer", NULL}, text[8] = "";
	int ends[2], status;
	pid_t pid;

	EXPECT(!pipe(ends));
	pid = vfork();
	if (!pid) {
		dup2(ends[1], 1);
		execv(arguments[0], arguments);
		_exit(1);
	}
	close(ends[1]);
	EXPECT(read(ends[0], text, sizeof(text)) == 6 && !strcmp(text, "answer"));
	EXPECT(waitpid(pid, &status, 0) == pid && !status);
	close(ends[0]);
	return true;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_over = PTHREAD_COND_INITIALIZER;
static __thread int own;
static int turn, sum;

static void *count(void *argument)
{
	int me = (int)(intptr_t)argument;

	for (own = 0; own < 200; own++) {
		pthread_mutex_lock(&mutex);
		while (turn != me)
			pthread_cond_wait(&turn_over, &mutex);
		turn = (turn + 1) % 8;
		sum += me;
		pthread_cond_broadcast(&turn_over);
		pthread_mutex_unlock(&mutex);
	}
	return (void *)(intptr_t)own;
}

static bool case_threads(void)
{
	pthread_t threads[8];
	void *ret;

	turn = sum = 0;
	for (intptr_t i = 0; i < 8; i++)
		EXPECT(!pthread_create(&threads[i], NULL, count, (void *)i));
	for (int i = 0; i < 8; i++)
		EXPECT(!pthread_join(threads[i], &ret) && (intptr_t)ret == 200);
	EXPECT(sum == 200 * 28);
	return true;
}

static void *unmap_later(void *at)
{
	usleep(20000);
	munmap(at, PAGE);
	return NULL;
}

/* What one thread takes away is gone for the others. */
static bool case_shared_tables(void)
{
	volatile char *p = pages(1, PROT_READ | PROT_WRITE);
	pthread_t thread;

	*p = 1;
	EXPECT(!pthread_create(&thread, NULL, unmap_later, (void *)p));
	got_signal = 0;
	if (!sigsetjmp(back, 1))
		for (;;)
			*p = 2;
	EXPECT(got_signal == SIGSEGV);
	EXPECT(!pthread_join(thread, NULL));
	return true;
}

/* ---- memory ---- */

static bool case_big_memory(void)
{
	const size_t n = 16384;
	uint64_t *p = pages(n, PROT_READ | PROT_WRITE), seed = 1;

	EXPECT((void *)p != MAP_FAILED);
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p[(seed >> 33) % n * (PAGE / 8)] += 1;
	}
	for (size_t i = 0; i < n; i++)
		seed += p[i * (PAGE / 8)];
	EXPECT(!madvise(p, n * PAGE, MADV_DONTNEED) && !p[0]);
	p[0] = 77;
	p = mremap(p, n * PAGE, 2 * n * PAGE, MREMAP_MAYMOVE);
	EXPECT((void *)p != MAP_FAILED && p[0] == 77);
	EXPECT(!munmap(p, 2 * n * PAGE));
	return true;
}

static int deep(int level)
{
	volatile char room[PAGE];

	room[0] = (char)level;
	return level ? deep(level - 1) + room[0] : 0;
}

static bool case_stack(void)
{
	deep(1000); /* 4 MiB */
	return true;
}

/* ---- tracing ---- */

static bool case_trace(void)
{
	struct user_regs_struct regs;
	int status, steps = 0;
	pid_t pid = fork();

	EXPECT(pid >= 0);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		syscall(SYS_getppid);
		_exit(9);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	EXPECT(!ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
	for (int i = 0; i < 20; i++, steps++) {
		EXPECT(!ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
		EXPECT(waitpid(pid, &status, 0) == pid && WSTOPSIG(status) == SIGTRAP);
	}
	EXPECT(steps == 20);
	do {
		EXPECT(!ptrace(PTRACE_SYSCALL, pid, 0, 0));
		EXPECT(waitpid(pid, &status, 0) == pid && WSTOPSIG(status) == (SIGTRAP | 0x80));
		EXPECT(!ptrace(PTRACE_GETREGS, pid, 0, &regs));
	} while (regs.orig_rax != SYS_getppid);
	EXPECT(!ptrace(PTRACE_SYSCALL, pid, 0, 0) && waitpid(pid, &status, 0) == pid);
	EXPECT(!ptrace(PTRACE_GETREGS, pid, 0, &regs) && (pid_t)regs.rax == getpid());
	EXPECT(!ptrace(PTRACE_DETACH, pid, 0, 0));
	EXPECT(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 9);
	return true;
}

/* ---- time ---- */

static bool case_time(void)
{
	struct timespec before, after, nap = {0, 30000000};

	for (int i = 0; i < 10; i++) {
		int64_t ns;

		clock_gettime(CLOCK_MONOTONIC, &before);
		EXPECT(!nanosleep(&nap, NULL));
		clock_gettime(CLOCK_MONOTONIC, &after);
		ns = (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec;
		EXPECT(ns >= 30000000 && ns < 2000000000);
	}
	EXPECT(time(NULL) > 1700000000);
	return true;
}

static const struct {
	const char *name;
	bool (*run)(void);
	bool slow;
} cases[] = {
    {"faults", case_faults, false},
    {"rights", case_rights, false},
    {"file-mapping", case_file_mapping, false},
    {"registers", case_registers, false},
    {"signal-stack", case_signal_stack, false},
    {"interrupted-calls", case_interrupted_calls, true},
    {"fork", case_fork, false},
    {"exec", case_exec, false},
    {"threads", case_threads, false},
    {"shared-tables", case_shared_tables, false},
    {"big-memory", case_big_memory, false},
    {"stack", case_stack, false},
    {"trace", case_trace, false},
    {"time", case_time, false},
};

static int run_all(bool slow_too)
{
	int failures = 0;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool good;

		if (cases[i].slow && !slow_too)
			continue;
		catch_faults();
		good = cases[i].run();
		if (slow_too || !good)
			printf("linux-check: %s %s\n", cases[i].name, good ? "passed" : "FAILED");
		failures += !good;
	}
	return failures;
}

/* Without an argument every case once; with --forever the quick ones again and again. */
int main(int argc, char **argv)
{
	int failures;

	if (argc > 1 && !strcmp(argv[1], "--answer"))
		return write(1, "answer", 6) != 6;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned round = 1; argc > 1 && !strcmp(argv[1], "--forever"); round++)
		if (!run_all(false))
			printf("linux-check: round %u\n", round);
	failures = run_all(true);
	printf("linux-check: end, %d failed\n", failures);
	return failures != 0;
}
