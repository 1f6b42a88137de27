/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONSOLE_H
#define VMM_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

/*
 * A line between a guest's console device and whoever looks at it. The device writes and
 * takes input; a reader attaches, is first given the last CONSOLE_HISTORY bytes, then all
 * that comes. Everything the guest writes also goes to a log descriptor, if there is one.
 * Machine lock held for every call (readers' callbacks come with it held too).
 */
#define CONSOLE_HISTORY (64u << 10)

struct console;

struct console_reader {
	void (*output)(void *context, const uint8_t *data, size_t len); /* must not block */
	void *context;
	struct console_reader *next;
};

struct console *console_new(int log_fd); /* -1: no log; the descriptor becomes its own */
void console_free(struct console *console); /* NULL is fine */

/* For the device. INPUT is called when a reader typed; it takes what it can, returns how much. */
void console_device(struct console *console,
		    size_t (*input)(void *device, const uint8_t *data, size_t len), void *device);
void console_write(struct console *console, const uint8_t *data, size_t len);
/* The device has room again: input held back is offered anew. */
void console_drain(struct console *console);

/* For readers. */
void console_attach(struct console *console, struct console_reader *reader);
void console_detach(struct console *console, struct console_reader *reader);
void console_type(struct console *console, const uint8_t *data, size_t len); /* held: 4 KiB at most */

#endif
