/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_LINUX_CHECK_H
#define TESTS_LINUX_CHECK_H

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>

#define PAGE 4096u

#define EXPECT(condition)                                                                      \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			printf("  line %d: %s (errno %d)\n", __LINE__, #condition, errno);     \
			return false;                                                          \
		}                                                                              \
	} while (0)

/* What the last fault was, and where it went on. */
extern sigjmp_buf fault_back;
extern volatile int fault_signal, fault_code;
extern void *volatile fault_address;

void fault_catch(void); /* from now on */
void *pages(size_t n, int rights);

bool case_faults(void);
bool case_rights(void);
bool case_file_mapping(void);
bool case_registers(void);
bool case_signal_stack(void);
bool case_interrupted_calls(void);
bool case_fork(void);
bool case_exec(void);
bool case_threads(void);
bool case_shared_tables(void);
bool case_big_memory(void);
bool case_stack(void);
bool case_trace(void);
bool case_time(void);

#endif
