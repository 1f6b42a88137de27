/* SPDX-License-Identifier: Apache-2.0 */
#ifndef GUEST_PROBE_CASE_USER_H
#define GUEST_PROBE_CASE_USER_H

#include "probe.h"

/* What the cases on user mode share. */
#define SYS_DONE 1

/* A program to be LOADed next, or the case fails. */
void user_start(struct program *p, const char *code);
/* REASON, that ENTER_USER gave, must be system call NUMBER. */
void user_expect_syscall(int64_t reason, uint64_t number);

#endif
