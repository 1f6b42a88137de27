/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_PAGECACHE_H
#define MIGRATE_PAGECACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/error.h"

/*
 * Pages as the destination has them, for deltas: bounded, direct-mapped by page number,
 * shared by all sender threads. Memory is mapped as it is used and given back at the end.
 *
 * Invariant: a page that is in the cache is, byte for byte, what was last sent for it.
 * Whoever sends a page that may be cached stores or drops it (codec.h does both).
 */
struct pagecache;

/* CAPACITY in bytes of pages, rounded down to a power of two, at least 1 MiB. */
int pagecache_create(size_t capacity, struct pagecache **ret_cache, struct error *err);
void pagecache_destroy(struct pagecache *cache); /* NULL is fine */

/*
 * Finds the place for page PAGE of REGION; where there is one, locks it until
 * pagecache_release(). Any thread; a thread holds one place at a time and lets go of it
 * soon, so that waiting is bounded.
 *
 * PLACE.data is 4096 bytes, or NULL, nothing locked, when the place belongs to another page
 * that is in use (sent this round or the one before), or ADMIT is false and the page is not
 * there. PLACE.hit says that data is what was last sent of this page; else what is there is of
 * no meaning.
 */
struct pagecache_place {
	uint8_t *data;
	bool hit;
	size_t slot; /* the cache's own */
};
void pagecache_hold(struct pagecache *cache, unsigned region, uint64_t page, uint32_t round,
		    bool admit, struct pagecache_place *ret_place);
/* Lets go. STORED: data now holds what is being sent. Else the place becomes empty. */
void pagecache_release(struct pagecache *cache, const struct pagecache_place *place,
		       unsigned region, uint64_t page, uint32_t round, bool stored);

/* The page is being sent some other way: what the cache has of it is no longer true. */
void pagecache_drop(struct pagecache *cache, unsigned region, uint64_t page);

size_t pagecache_bytes(struct pagecache *cache); /* of pages stored now */

#endif
