/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_LOOPCALL_H
#define VMM_LOOPCALL_H

#include <pthread.h>
#include <semaphore.h>
#include <uv.h>

#include "proto/error.h"

/*
 * Lets another thread have something done on the loop thread and wait for it: the machine
 * changes its run state there only, the migration has a thread of its own.
 */
struct loopcall {
	/* Loop thread. Ends by loopcall_done(), at once or from a later callback. */
	void (*run)(struct loopcall *call);
	void *context;
	int result;
	struct error error;
	/* loopcall.c's. */
	sem_t done;
	struct loopcall *next;
};

struct loopcalls {
	uv_async_t wake;
	pthread_mutex_t lock;
	struct loopcall *first, **last; /* under the lock */
};

/* Loop thread. After close() no more calls may come. */
int loopcalls_init(struct loopcalls *calls, uv_loop_t *loop);
void loopcalls_close(struct loopcalls *calls);

/*
 * Has CALL->run called on the loop thread and waits for its loopcall_done(). Any thread but
 * the loop's. Returns the result; the error goes to ERR.
 */
int loopcall_wait(struct loopcalls *calls, struct loopcall *call, struct error *err);
void loopcall_done(struct loopcall *call, int result);

#endif
