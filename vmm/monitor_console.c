/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/paths.h"
#include "vmm/monitor_internal.h"

/*
 * Consoles as control clients see them. A guest's output comes on a vCPU's thread with the
 * machine lock held; it is put by and sent from the loop.
 */

static void on_log(void *context, const uint8_t *data, size_t len)
{
	struct monitor *monitor = context;
	ssize_t put = write(monitor->log_fd, data, len);

	(void)put; /* a full disk must not stop the guest */
}

static void on_output(void *context, const uint8_t *data, size_t len)
{
	struct monitor_console *console = context;

	/* Short of memory a console loses output; the log still has it. */
	buffer_append(&console->output, data, len);
	uv_async_send(&console->monitor->output);
}

static void on_flush(uv_async_t *async)
{
	struct monitor *monitor = async->data;
	struct monitor_console *console, *next;

	for (console = monitor->consoles; console; console = next) {
		struct buffer out;

		next = console->next;
		machine_lock(monitor->machine);
		out = console->output;
		console->output = (struct buffer){0};
		machine_unlock(monitor->machine);
		if (out.len)
			control_console(console->client, out.data, out.len);
		buffer_done(&out);
	}
}

int monitor_console_init(struct monitor *monitor, struct error *err)
{
	char *path = paths_join(monitor->options.state_dir, monitor->guest->name, PATHS_LOG);
	int r;

	if (!path)
		return error_set(err, -ENOMEM, "no memory for a path");
	monitor->log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	r = monitor->log_fd < 0 ? error_system(err, -errno, "cannot open %s", path) : 0;
	free(path);
	if (r)
		return r;
	monitor->log = (struct console_reader){.output = on_log, .context = monitor};
	machine_lock(monitor->machine);
	console_attach(machine_serial_console(monitor->machine), &monitor->log);
	machine_unlock(monitor->machine);
	monitor->output.data = monitor;
	return uv_async_init(monitor->loop, &monitor->output, on_flush);
}

void monitor_console_close(struct monitor *monitor)
{
	monitor_console_forget(monitor, NULL);
	machine_lock(monitor->machine);
	console_detach(machine_serial_console(monitor->machine), &monitor->log);
	machine_unlock(monitor->machine);
	uv_close((uv_handle_t *)&monitor->output, NULL);
	close(monitor->log_fd);
}

static int console_choose(struct monitor *monitor, bool serial, struct console **ret,
			  struct error *err)
{
	if (!serial && !monitor->guest->console)
		return error_set(err, -ENODEV, "the guest has no virtio console: try --serial");
	*ret = serial ? machine_serial_console(monitor->machine)
		      : machine_virtio_console(monitor->machine);
	return 0;
}

void monitor_console(struct monitor *monitor, struct control_client *client, uint32_t id,
		     bool serial)
{
	struct monitor_console *c = calloc(1, sizeof(*c));
	struct error err = {0};

	if (!c)
		error_set(&err, -ENOMEM, "no memory for a console");
	else
		console_choose(monitor, serial, &c->console, &err);
	control_answer(client, id, &err);
	if (err.code) {
		free(c);
		return;
	}
	c->monitor = monitor;
	c->client = client;
	c->reader = (struct console_reader){.output = on_output, .context = c};
	c->next = monitor->consoles;
	monitor->consoles = c;
	machine_lock(monitor->machine);
	console_attach(c->console, &c->reader);
	machine_unlock(monitor->machine);
}

void monitor_console_typed(struct monitor *monitor, struct control_client *client,
			   const uint8_t *data, size_t len)
{
	for (struct monitor_console *c = monitor->consoles; c; c = c->next) {
		if (c->client != client)
			continue;
		machine_lock(monitor->machine);
		console_type(c->console, data, len);
		machine_unlock(monitor->machine);
	}
}

void monitor_console_forget(struct monitor *monitor, struct control_client *client)
{
	struct monitor_console **at = &monitor->consoles, *c;

	while ((c = *at)) {
		if (client && c->client != client) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		machine_lock(monitor->machine);
		console_detach(c->console, &c->reader);
		machine_unlock(monitor->machine);
		buffer_done(&c->output);
		free(c);
	}
}
