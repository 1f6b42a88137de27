/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/virtio/devices.h"
#include "vmm/virtio/virtio.h"

/* One port of a console (virtio 1.2, 5.3), without the multiport feature. */
enum { QUEUE_INPUT, QUEUE_OUTPUT, QUEUES };

#define OUTPUT_TURN (64u << 10) /* bytes before others get their turn on the loop */
#define CHAIN_MAX   (1u << 20)  /* bytes taken from one chain; no driver sends as many */

struct virtio_console {
	struct virtio v;
	struct console *console;
	struct virtq_chain chain;
};

/* What a reader typed; takes as much as the driver has given buffers for. */
static size_t console_input(void *device, const uint8_t *data, size_t len)
{
	struct virtio_console *c = device;
	size_t done = 0, n;

	/* Empty chains count as well, or a driver could keep us here. */
	for (unsigned i = 0; i < VIRTQ_SIZE && done < len; i++) {
		if (!virtio_pop(&c->v, QUEUE_INPUT, &c->chain))
			break;
		n = chain_write(&c->chain, 0, data + done, len - done);
		virtio_push(&c->v, QUEUE_INPUT, &c->chain, n);
		done += n;
	}
	virtio_signal(&c->v, QUEUE_INPUT);
	return done;
}

static size_t output_chain(struct virtio_console *c)
{
	uint8_t data[4096];
	size_t done = 0, n;

	while (done < CHAIN_MAX && (n = chain_read(&c->chain, done, data, sizeof(data))) > 0) {
		console_write(c->console, data, n);
		done += n;
	}
	return done;
}

static void console_output(struct virtio_console *c)
{
	size_t done = 0;
	unsigned n = 0;

	while (done < OUTPUT_TURN && n < VIRTQ_SIZE &&
	       virtio_pop(&c->v, QUEUE_OUTPUT, &c->chain)) {
		done += output_chain(c);
		virtio_push(&c->v, QUEUE_OUTPUT, &c->chain, 0);
		n++;
	}
	virtio_signal(&c->v, QUEUE_OUTPUT);
	if (done >= OUTPUT_TURN || n == VIRTQ_SIZE)
		virtio_poke(&c->v, QUEUE_OUTPUT);
}

static void console_kick(struct virtio *v, unsigned index)
{
	struct virtio_console *c = (struct virtio_console *)v;

	if (index == QUEUE_INPUT)
		console_drain(c->console);
	else
		console_output(c);
}

static void console_destroy(struct virtio *v)
{
	struct virtio_console *c = (struct virtio_console *)v;

	console_device(c->console, NULL, NULL);
	free(c);
}

static const struct virtio_ops console_ops = {
    .id = VIRTIO_ID_CONSOLE,
    .kick = console_kick,
    .destroy = console_destroy,
};

int virtio_console_add(struct machine *machine, struct console *console, struct error *err)
{
	struct virtio_console *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return error_set(err, -ENOMEM, "no memory for the console");
	snprintf(c->v.device.name, sizeof(c->v.device.name), "console0");
	snprintf(c->v.device.contract, sizeof(c->v.device.contract), "virtio-console");
	c->console = console;
	c->v.n_queues = QUEUES;
	/* Nothing in it means anything without features; drivers read it all the same. */
	c->v.config_len = sizeof(struct virtio_console_config);
	r = virtio_init(&c->v, machine, &console_ops);
	if (r < 0) {
		virtio_destroy(&c->v);
		return error_system(err, r, "cannot make the console");
	}
	console_device(console, console_input, c);
	return virtio_add(&c->v, err);
}
