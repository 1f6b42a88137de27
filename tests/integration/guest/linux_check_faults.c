// SPDX-License-Identifier: Apache-2.0
/* Faults of programs, and rights of memory. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "linux_check.h"

sigjmp_buf fault_back;
volatile int fault_signal, fault_code;
void *volatile fault_address;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)context;
	fault_signal = signal;
	fault_code = info->si_code;
	fault_address = info->si_addr;
	siglongjmp(fault_back, 1);
}

void fault_catch(void)
{
	const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

/* What ATTEMPT is answered with: "signal/code", or 0. */
static int fault_of(void (*attempt)(void *), void *argument)
{
	fault_signal = 0;
	fault_code = 0;
	fault_address = NULL;
	if (!sigsetjmp(fault_back, 1))
		attempt(argument);
	return fault_signal;
}

void *pages(size_t n, int rights)
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
	((void (*)(void))(uintptr_t)at)();
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

bool case_faults(void)
{
	char *p = pages(3, PROT_READ);

	EXPECT(fault_of(read_it, p) == 0);
	EXPECT(fault_of(write_it, p + 5) == SIGSEGV && fault_code == SEGV_ACCERR);
	EXPECT(fault_address == p + 5);
	munmap(p, PAGE);
	EXPECT(fault_of(read_it, p) == SIGSEGV && fault_code == SEGV_MAPERR);
	EXPECT(fault_of(read_it, NULL) == SIGSEGV);
	EXPECT(fault_of(read_it, (void *)0x60000000) == SIGSEGV);
	EXPECT(fault_of(divide, NULL) == SIGFPE && fault_code == FPE_INTDIV);
	EXPECT(fault_of(bad_instruction, NULL) == SIGILL);
	EXPECT(fault_of(breakpoint, NULL) == SIGTRAP);
	EXPECT(fault_of(not_canonical, NULL) == SIGSEGV);
	return true;
}

bool case_rights(void)
{
	unsigned char *p = pages(2, PROT_READ | PROT_WRITE);
	int out = open("/dev/zero", O_RDONLY);

	*p = 0xc3; /* ret */
	EXPECT(fault_of(call_it, p) == SIGSEGV && fault_code == SEGV_ACCERR);
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

bool case_file_mapping(void)
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
