/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef __UM_SEGUE_TASK_H
#define __UM_SEGUE_TASK_H

/*
 * A task's user context in the machine, and where its registers are: in the machine, unless
 * HAVE says that thread.regs has them too.
 */
struct segue_task {
	int context;   /* its number, 0: none yet */
	bool have;     /* thread.regs is complete */
	bool load;     /* ... and newer than what the machine has */
	bool call;     /* the machine's are behind a system call that waits for its value */
	bool stepping; /* it was entered with the trap flag set */
};

#endif
