/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_MIGRATE_H
#define MIGRATE_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control.pb-c.h"
#include "proto/buffer.h"
#include "proto/error.h"

/*
 * Moving a guest. This library knows regions of memory, a dirty source and opaque state;
 * what a guest is, it learns through struct migrate_guest.
 */
#define MIGRATE_PAGE     4096u
#define MIGRATE_CHANNELS 16u /* data channels at most */

struct migrate_region {
	const char *name;
	uint8_t *base;  /* hva, page-aligned; mapped as long as the move lasts */
	uint64_t pages;
	int fd;         /* the memfd BASE maps from its offset 0; holes in it are zero pages */
	bool huge;      /* touching a hole brings in 2 MiB, not a page */
};

/*
 * The guest as the migration sees it. CONTEXT is the first argument of every call. All are
 * called from the migration's own thread, never two at once, and may block; each is
 * bounded by the guest's owner to a few seconds.
 */
struct migrate_guest {
	void *context;
	const char *name;
	const struct migrate_region *regions;
	unsigned n_regions;

	/* Dirty source. harvest ORs a bit a page of region REGION into WORDS and clears. */
	int (*dirty_start)(void *context, struct error *err);
	int (*dirty_harvest)(void *context, unsigned region, uint64_t *words, struct error *err);
	void (*dirty_stop)(void *context);
	void (*throttle)(void *context, unsigned percent);

	/* Stand still: after it nothing writes guest memory. ret: when (CLOCK_MONOTONIC ns). */
	int (*pause)(void *context, uint64_t *ret_paused_at, struct error *err);
	/* Run, with clocks set on by ELAPSED_NS since the pause. */
	int (*resume)(void *context, uint64_t elapsed_ns, struct error *err);

	int (*save)(void *context, struct buffer *state, struct error *err);
	int (*load)(void *context, const uint8_t *state, size_t len, struct error *err);
	int (*contract)(void *context, struct buffer *contract, struct error *err);
	int (*accept)(void *context, const uint8_t *contract, size_t len, struct error *err);

	/*
	 * What came from outside for the guest that has gone, at most STREAM_MAX_LATE bytes, and
	 * at the other end the same. Neither is ever needed. NULL: there is no such thing.
	 */
	int (*late)(void *context, struct buffer *late, struct error *err);
	int (*take_late)(void *context, const uint8_t *late, size_t len, struct error *err);

	/* Something a person watching would want to see has changed. NULL: nobody watches. */
	void (*progress)(void *context);
};

#endif
