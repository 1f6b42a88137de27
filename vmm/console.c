/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/console.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONSOLE_TYPED 4096u

struct console {
	int log_fd;

	/* The last CONSOLE_HISTORY bytes written, as a ring; TOTAL counts all ever written. */
	uint8_t history[CONSOLE_HISTORY];
	uint64_t total;

	/* Typed and not yet taken by the device. */
	uint8_t typed[CONSOLE_TYPED];
	size_t n_typed;
	bool offering;

	size_t (*input)(void *device, const uint8_t *data, size_t len);
	void *device;
	struct console_reader *readers;
};

struct console *console_new(int log_fd)
{
	struct console *console = calloc(1, sizeof(*console));

	if (console)
		console->log_fd = log_fd;
	return console;
}

void console_free(struct console *console)
{
	if (!console)
		return;
	if (console->log_fd >= 0)
		close(console->log_fd);
	free(console);
}

void console_device(struct console *console,
		    size_t (*input)(void *device, const uint8_t *data, size_t len),
		    void *device)
{
	console->input = input;
	console->device = device;
}

/* A log that cannot be written (disk full) must not stop the guest: it goes without. */
static void console_log(const struct console *console, const uint8_t *data, size_t len)
{
	while (console->log_fd >= 0 && len) {
		ssize_t n = write(console->log_fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static void console_remember(struct console *console, const uint8_t *data, size_t len)
{
	while (len) {
		size_t at = console->total % CONSOLE_HISTORY;
		size_t n = CONSOLE_HISTORY - at < len ? CONSOLE_HISTORY - at : len;

		memcpy(console->history + at, data, n);
		console->total += n;
		data += n;
		len -= n;
	}
}

void console_write(struct console *console, const uint8_t *data, size_t len)
{
	struct console_reader *reader, *next;

	console_log(console, data, len);
	console_remember(console, data, len);
	/* A reader may detach itself in its callback. */
	for (reader = console->readers; reader; reader = next) {
		next = reader->next;
		reader->output(reader->context, data, len);
	}
}

void console_drain(struct console *console)
{
	size_t taken;

	/* A device may find that it has room while it is being offered. */
	if (!console->input || !console->n_typed || console->offering)
		return;
	console->offering = true;
	taken = console->input(console->device, console->typed, console->n_typed);
	console->offering = false;
	console->n_typed -= taken;
	memmove(console->typed, console->typed + taken, console->n_typed);
}

void console_type(struct console *console, const uint8_t *data, size_t len)
{
	size_t room = CONSOLE_TYPED - console->n_typed;
	size_t n = len < room ? len : room;

	memcpy(console->typed + console->n_typed, data, n);
	console->n_typed += n;
	console_drain(console);
}

void console_attach(struct console *console, struct console_reader *reader)
{
	size_t end = console->total % CONSOLE_HISTORY;

	if (console->total > CONSOLE_HISTORY)
		reader->output(reader->context, console->history + end, CONSOLE_HISTORY - end);
	if (console->total == CONSOLE_HISTORY)
		end = CONSOLE_HISTORY;
	if (end)
		reader->output(reader->context, console->history, end);
	reader->next = console->readers;
	console->readers = reader;
}

void console_detach(struct console *console, struct console_reader *reader)
{
	struct console_reader **at = &console->readers;

	while (*at && *at != reader)
		at = &(*at)->next;
	if (*at)
		*at = reader->next;
}
