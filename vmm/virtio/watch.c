/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/watch.h"

#include <stdlib.h>

struct watch {
	uv_poll_t poll;
	struct machine *machine;
	void (*ready)(void *context);
	void *context;
};

struct watch *watch_new(struct machine *machine, int fd, void (*ready)(void *context),
			void *context)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->machine = machine;
	watch->ready = ready;
	watch->context = context;
	watch->poll.data = watch;
	if (uv_poll_init(machine_loop(machine), &watch->poll, fd) < 0) {
		free(watch);
		return NULL;
	}
	return watch;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = poll->data;
	struct machine *machine = watch->machine;

	(void)events;
	/* Its owner will see the error when it reads; without this we would come back at once.
	 */
	if (status < 0)
		uv_poll_stop(poll);
	machine_lock(machine);
	watch->ready(watch->context);
	machine_unlock(machine);
}

void watch_start(struct watch *watch)
{
	if (!uv_is_active((uv_handle_t *)&watch->poll))
		uv_poll_start(&watch->poll, UV_READABLE, on_poll);
}

void watch_stop(struct watch *watch)
{
	uv_poll_stop(&watch->poll);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void watch_free(struct watch *watch)
{
	if (watch)
		uv_close((uv_handle_t *)&watch->poll, on_closed);
}
