/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/loopcall.h"

#include <errno.h>

static struct loopcall *take(struct loopcalls *calls)
{
	struct loopcall *call;

	pthread_mutex_lock(&calls->lock);
	call = calls->first;
	if (call) {
		calls->first = call->next;
		if (!calls->first)
			calls->last = &calls->first;
	}
	pthread_mutex_unlock(&calls->lock);
	return call;
}

static void on_wake(uv_async_t *wake)
{
	struct loopcalls *calls = wake->data;
	struct loopcall *call;

	while ((call = take(calls)))
		call->run(call);
}

int loopcalls_init(struct loopcalls *calls, uv_loop_t *loop)
{
	int r = uv_async_init(loop, &calls->wake, on_wake);

	if (r)
		return r;
	calls->wake.data = calls;
	calls->first = NULL;
	calls->last = &calls->first;
	pthread_mutex_init(&calls->lock, NULL);
	return 0;
}

void loopcalls_close(struct loopcalls *calls)
{
	uv_close((uv_handle_t *)&calls->wake, NULL);
}

int loopcall_wait(struct loopcalls *calls, struct loopcall *call, struct error *err)
{
	sem_init(&call->done, 0, 0);
	call->next = NULL;
	pthread_mutex_lock(&calls->lock);
	*calls->last = call;
	calls->last = &call->next;
	pthread_mutex_unlock(&calls->lock);
	uv_async_send(&calls->wake);
	while (sem_wait(&call->done) && errno == EINTR)
		;
	sem_destroy(&call->done);
	if (call->result && call->error.code)
		return error_set(err, call->result, "%s", call->error.text);
	return call->result;
}

void loopcall_done(struct loopcall *call, int result)
{
	call->result = result;
	sem_post(&call->done);
}
