/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/engine/pv/dirty.h"

/*
 * Written pages by faults, for hosts whose kernel does not tell them: everything is protected
 * against writing, and the first write to a page is a fault. In shadows page by page; in the
 * kernel's direct map block by block, so many pages each that the host's limit on mappings is
 * kept.
 */
#define BLOCKS_MAX  PV_DIRECT_MAPS
#define ORDERS      64u
#define RWX         (PROT_READ | PROT_WRITE | PROT_EXEC)
#define CLOSED      (PROT_READ | PROT_EXEC)
#define WORD_BITS   64u

static uint64_t ram_pages(const struct pv_engine *e)
{
	return ram_size(e->ram) / RAM_PAGE;
}

int pv_dirty_prepare(struct pv_engine *e, struct error *err)
{
	e->block_pages = 1;
	while (ram_pages(e) / e->block_pages > BLOCKS_MAX)
		e->block_pages *= 2;
	e->open = calloc(BLOCKS_MAX / WORD_BITS + 1, sizeof(*e->open));
	return e->open ? 0 : error_system(err, -ENOMEM, "the bitmap of guest memory");
}

/* ---- the direct map ---- */

static int direct_protect(struct pv_engine *e, uint64_t page, uint64_t pages, int prot)
{
	struct pv_map map = {
		.op = PV_PROTECT,
		.prot = prot,
		.va = SEGUE_PV_DIRECT + page * RAM_PAGE,
		.pages = pages,
	};

	if (!e->kernel.domain)
		return 0;
	return pv_domain_map(e->kernel.domain, &map, 1, NULL, NULL);
}

int pv_direct_close(struct pv_engine *e)
{
	e->any_open = false;
	memset(e->open, 0, (BLOCKS_MAX / WORD_BITS + 1) * sizeof(*e->open));
	return direct_protect(e, 0, ram_pages(e), CLOSED);
}

/* Where the host allows no mapping more all of it is opened, which makes it one. */
static int direct_open(struct pv_engine *e, uint64_t page)
{
	uint64_t block = page / e->block_pages;
	int r = direct_protect(e, block * e->block_pages, e->block_pages, RWX);

	e->any_open = true;
	e->open[block / WORD_BITS] |= 1ull << block % WORD_BITS;
	if (r != -ENOMEM)
		return r;
	memset(e->open, 0xff, (BLOCKS_MAX / WORD_BITS + 1) * sizeof(*e->open));
	return direct_protect(e, 0, ram_pages(e), RWX);
}

static int direct_harvest(struct pv_engine *e, uint64_t *words)
{
	if (!e->any_open)
		return 0;
	for (uint64_t b = 0; b < ram_pages(e) / e->block_pages; b++) {
		if (e->open[b / WORD_BITS] >> b % WORD_BITS & 1)
			pv_pages_set(words, b * e->block_pages, e->block_pages);
	}
	return pv_direct_close(e);
}

/* Tracking may also have ended between the fault and now, or have failed to begin. */
bool pv_dirty_fault(struct pv_engine *e, const struct pv_stop *stop)
{
	uint64_t page = (stop->trap.address - SEGUE_PV_DIRECT) / RAM_PAGE;
	int r;

	pthread_mutex_lock(&e->shadow_lock);
	if (e->track == PV_TRACK_SHADOW)
		r = direct_open(e, page);
	else
		r = direct_protect(e, 0, ram_pages(e), RWX);
	pthread_mutex_unlock(&e->shadow_lock);
	return r == 0;
}

/* ---- all ---- */

static int shadow_protect(struct pv_engine *e, struct pv_shadow *shadow)
{
	struct pv_map maps[ORDERS];
	uint64_t cursor = 0;
	unsigned n;
	int r = 0;

	while (r == 0 && (n = pv_shadow_protect(shadow, &cursor, maps, ORDERS)) > 0)
		r = pv_domain_map(pv_domain_of(e, shadow), maps, n, NULL, NULL);
	return r;
}

/* A domain that is gone writes no more. */
static int shadows_protect(struct pv_engine *e)
{
	struct pv_shadow *s = NULL;
	int r = 0;

	while (r == 0 && (s = pv_shadow_next(e->shadows, s))) {
		r = shadow_protect(e, s);
		if (r == -EIO)
			r = 0;
	}
	return r;
}

int pv_faults_start(struct pv_engine *e)
{
	int r;

	pv_shadow_track(e->shadows, PV_TRACK_SHADOW);
	e->track = PV_TRACK_SHADOW;
	r = pv_direct_close(e);
	return r < 0 ? r : shadows_protect(e);
}

int pv_faults_harvest(struct pv_engine *e, uint64_t *words)
{
	int r;

	pv_shadow_harvest(e->shadows, words);
	r = shadows_protect(e);
	return r < 0 ? r : direct_harvest(e, words);
}

/* Shadows get the right to write back by faults. */
int pv_faults_stop(struct pv_engine *e)
{
	return direct_protect(e, 0, ram_pages(e), RWX);
}
