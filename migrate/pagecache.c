/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/pagecache.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define CACHE_PAGE  4096u
#define CACHE_LEAST 256u /* pages */
#define CACHE_LOCKS 256u
#define CACHE_YOUNG 1u /* rounds a place is kept for the page that used it */

/* Tags name region and page; 0 is an empty place. */
#define TAG_PAGE_BITS 48

struct slot {
	uint64_t tag;
	uint32_t round; /* in which it was last used */
};

struct pagecache {
	size_t slots; /* a power of two */
	uint8_t *data;
	struct slot *slot;
	_Atomic size_t stored;
	pthread_mutex_t lock[CACHE_LOCKS]; /* [i % CACHE_LOCKS]: slot i and its page */
};

static size_t round_down(size_t pages)
{
	size_t slots = CACHE_LEAST;

	while (slots <= pages / 2)
		slots *= 2;
	return slots;
}

int pagecache_create(size_t capacity, struct pagecache **ret_cache, struct error *err)
{
	struct pagecache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return error_set(err, -ENOMEM, "no memory for the page cache");
	cache->slots = round_down(capacity / CACHE_PAGE);
	cache->slot = calloc(cache->slots, sizeof(*cache->slot));
	cache->data = mmap(NULL, cache->slots * CACHE_PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (cache->data == MAP_FAILED)
		cache->data = NULL;
	for (unsigned i = 0; i < CACHE_LOCKS; i++)
		pthread_mutex_init(&cache->lock[i], NULL);
	if (!cache->slot || !cache->data) {
		pagecache_destroy(cache);
		return error_set(err, -ENOMEM, "no memory for a page cache of %zu bytes",
				 capacity);
	}
	/* Only an improvement: fewer first touches while pages are being sent. */
	(void)madvise(cache->data, cache->slots * CACHE_PAGE, MADV_HUGEPAGE);
	*ret_cache = cache;
	return 0;
}

void pagecache_destroy(struct pagecache *cache)
{
	if (!cache)
		return;
	if (cache->data)
		munmap(cache->data, cache->slots * CACHE_PAGE);
	for (unsigned i = 0; i < CACHE_LOCKS; i++)
		pthread_mutex_destroy(&cache->lock[i]);
	free(cache->slot);
	free(cache);
}

static uint64_t tag_of(unsigned region, uint64_t page)
{
	return ((uint64_t)region << TAG_PAGE_BITS | page) + 1;
}

/* Neighbours never collide; regions begin at places far apart. */
static size_t slot_of(const struct pagecache *cache, unsigned region, uint64_t page)
{
	uint64_t start = region * UINT64_C(0x9e3779b97f4a7c15) >> 16;

	return (size_t)(page + start) & (cache->slots - 1);
}

static bool in_use(const struct slot *slot, uint32_t round)
{
	return slot->tag && round - slot->round <= CACHE_YOUNG;
}

void pagecache_hold(struct pagecache *cache, unsigned region, uint64_t page, uint32_t round,
		    bool admit, struct pagecache_place *ret_place)
{
	size_t index = slot_of(cache, region, page);
	struct slot *slot = &cache->slot[index];

	*ret_place = (struct pagecache_place){ .slot = index };
	pthread_mutex_lock(&cache->lock[index % CACHE_LOCKS]);
	ret_place->hit = slot->tag == tag_of(region, page);
	if (ret_place->hit || (admit && !in_use(slot, round)))
		ret_place->data = cache->data + index * CACHE_PAGE;
	else
		pthread_mutex_unlock(&cache->lock[index % CACHE_LOCKS]);
}

static void slot_set(struct pagecache *cache, struct slot *slot, uint64_t tag)
{
	if (!slot->tag && tag)
		atomic_fetch_add_explicit(&cache->stored, 1, memory_order_relaxed);
	else if (slot->tag && !tag)
		atomic_fetch_sub_explicit(&cache->stored, 1, memory_order_relaxed);
	slot->tag = tag;
}

void pagecache_release(struct pagecache *cache, const struct pagecache_place *place,
		       unsigned region, uint64_t page, uint32_t round, bool stored)
{
	struct slot *slot = &cache->slot[place->slot];

	if (!place->data)
		return;
	slot_set(cache, slot, stored ? tag_of(region, page) : 0);
	slot->round = round;
	pthread_mutex_unlock(&cache->lock[place->slot % CACHE_LOCKS]);
}

void pagecache_drop(struct pagecache *cache, unsigned region, uint64_t page)
{
	size_t index = slot_of(cache, region, page);
	struct slot *slot = &cache->slot[index];

	pthread_mutex_lock(&cache->lock[index % CACHE_LOCKS]);
	if (slot->tag == tag_of(region, page))
		slot_set(cache, slot, 0);
	pthread_mutex_unlock(&cache->lock[index % CACHE_LOCKS]);
}

size_t pagecache_bytes(struct pagecache *cache)
{
	return atomic_load_explicit(&cache->stored, memory_order_relaxed) * CACHE_PAGE;
}
