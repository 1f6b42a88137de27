// SPDX-License-Identifier: Apache-2.0
/* Signals: every register is kept, stacks of their own, calls that are interrupted. */
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux_check.h"

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

bool case_registers(void)
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

bool case_signal_stack(void)
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

bool case_interrupted_calls(void)
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
