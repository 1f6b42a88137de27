/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/engine/pv/pv.h"

/*
 * Which pages guest code has written. Where the host's kernel tells by itself it is asked
 * for every domain (PV_TRACK_KERNEL). Else everything is protected against writing, and the
 * first write to a page is a fault: in shadows page by page, in the kernel's direct map
 * block by block, so many pages each that the host's limit on mappings is kept.
 *
 * A page that is written while a harvest is under way is in that harvest: it was writable,
 * and what is writable is in the log; its content is taken afterwards.
 */
#define BLOCKS_MAX  PV_DIRECT_MAPS
#define ORDERS      64u
#define MUCH        16u /* pages: a scan costs as much as sending a few */
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

static struct pv_domain *domain_of(struct pv_engine *e, const struct pv_shadow *shadow)
{
	const struct pv_space *space = pv_shadow_owner(shadow);

	return space ? space->domain : e->kernel.domain;
}

/* ---- the direct map, by faults ---- */

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

static int direct_close(struct pv_engine *e)
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

static void bits_set(uint64_t *words, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		words[i / WORD_BITS] |= 1ull << i % WORD_BITS;
}

static int direct_harvest(struct pv_engine *e, uint64_t *words)
{
	if (!e->any_open)
		return 0;
	for (uint64_t b = 0; b < ram_pages(e) / e->block_pages; b++) {
		if (e->open[b / WORD_BITS] >> b % WORD_BITS & 1)
			bits_set(words, b * e->block_pages, e->block_pages);
	}
	return direct_close(e);
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

/* ---- by faults ---- */

static int shadow_protect(struct pv_engine *e, struct pv_shadow *shadow)
{
	struct pv_map maps[ORDERS];
	uint64_t cursor = 0;
	unsigned n;
	int r = 0;

	while (r == 0 && (n = pv_shadow_protect(shadow, &cursor, maps, ORDERS)) > 0)
		r = pv_domain_map(domain_of(e, shadow), maps, n, NULL, NULL);
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

static int faults_start(struct pv_engine *e)
{
	int r;

	pv_shadow_track(e->shadows, PV_TRACK_SHADOW);
	e->track = PV_TRACK_SHADOW;
	r = direct_close(e);
	return r < 0 ? r : shadows_protect(e);
}

static int faults_harvest(struct pv_engine *e, uint64_t *words)
{
	int r;

	pv_shadow_harvest(e->shadows, words);
	r = shadows_protect(e);
	return r < 0 ? r : direct_harvest(e, words);
}

/* ---- by the host's kernel ---- */

static int domains_track(struct pv_engine *e, bool on, struct error *err)
{
	struct pv_shadow *s = NULL;
	int r = 0;

	while ((r == 0 || r == -EIO) && (s = pv_shadow_next(e->shadows, s)))
		r = pv_domain_track(domain_of(e, s), on, err);
	return r == -EIO ? 0 : r;
}

static int kernel_start(struct pv_engine *e)
{
	int r;

	pv_shadow_track(e->shadows, PV_TRACK_KERNEL);
	e->track = PV_TRACK_KERNEL;
	r = domains_track(e, true, NULL);
	if (r < 0)
		(void)domains_track(e, false, NULL);
	return r;
}

struct scan {
	const struct pv_shadow *shadow;
	uint64_t *words;
};

static void scan_direct(void *data, uint64_t va, uint64_t pages)
{
	const struct scan *scan = data;

	bits_set(scan->words, (va - SEGUE_PV_DIRECT) / RAM_PAGE, pages);
}

static void scan_shadow(void *data, uint64_t va, uint64_t pages)
{
	const struct scan *scan = data;

	pv_shadow_written(scan->shadow, va, pages, scan->words);
}

static void scan_to_log(void *data, uint64_t va, uint64_t pages)
{
	pv_shadow_written(data, va, pages, NULL);
}

/* A flush logs what it drops; where that is much, only what has been written since. */
bool pv_dirty_flush(struct pv_engine *e, struct pv_shadow *shadow, uint64_t begin, uint64_t end,
		    struct pv_map *ret_map)
{
	uint64_t own = pv_shadow_owner(shadow) ? SEGUE_PV_USER_BEGIN
					       : SEGUE_PV_DIRECT + ram_size(e->ram);
	bool much;

	/* The direct map's notes are not this shadow's to take. */
	if (begin < own)
		begin = own;
	if (begin >= end)
		return false;
	much = pv_shadow_pages(shadow) > MUCH && (end - begin) / RAM_PAGE > MUCH;
	if (e->track != PV_TRACK_KERNEL || !much ||
	    pv_domain_scan(domain_of(e, shadow), begin, end, scan_to_log, shadow, NULL) < 0)
		return pv_shadow_flush(shadow, begin, end, ret_map);
	return pv_shadow_flush_scanned(shadow, begin, end, ret_map);
}

static int domain_scan(struct pv_engine *e, struct pv_shadow *shadow, uint64_t *words,
		       struct error *err)
{
	struct scan scan = {.shadow = shadow, .words = words};
	uint64_t begin = SEGUE_PV_USER_BEGIN, end = SEGUE_PV_DIRECT + ram_size(e->ram);
	int r = 0;

	if (!pv_shadow_owner(shadow)) {
		begin = end;
		r = pv_domain_scan(e->kernel.domain, SEGUE_PV_DIRECT, end, scan_direct, &scan,
				   err);
	}
	if (r < 0 || !pv_shadow_pages(shadow))
		return r;
	return pv_domain_scan(domain_of(e, shadow), begin, SEGUE_PV_VA_END, scan_shadow, &scan,
			      err);
}

static int kernel_harvest(struct pv_engine *e, uint64_t *words, struct error *err)
{
	struct pv_shadow *s = NULL;
	int r = 0;

	pv_shadow_harvest(e->shadows, words);
	while ((r == 0 || r == -EIO) && (s = pv_shadow_next(e->shadows, s)))
		r = domain_scan(e, s, words, err);
	return r == -EIO ? 0 : r;
}

/* The kernel's domain goes, and takes what is known of its writes with it. */
void pv_dirty_forget(struct pv_engine *e)
{
	e->all_written = e->track != PV_TRACK_OFF;
}

int pv_dirty_join_kernel(struct pv_engine *e, struct error *err)
{
	if (e->track == PV_TRACK_SHADOW)
		return direct_close(e);
	return pv_dirty_join(e, e->kernel.domain, err);
}

int pv_dirty_join(struct pv_engine *e, struct pv_domain *domain, struct error *err)
{
	return e->track == PV_TRACK_KERNEL ? pv_domain_track(domain, true, err) : 0;
}

/* ---- the engine's ---- */

int pv_dirty_start(struct engine *engine, struct error *err)
{
	struct pv_engine *e = pv_engine_of(engine);
	int r = -ENOTSUP;

	if (e->track != PV_TRACK_OFF)
		(void)pv_dirty_stop(engine);
	pthread_mutex_lock(&e->shadow_lock);
	if (e->track_uffd)
		r = kernel_start(e);
	if (r < 0 && !(e->track_uffd && e->track_forced))
		r = faults_start(e);
	if (r < 0) {
		e->track = PV_TRACK_OFF;
		pv_shadow_track(e->shadows, PV_TRACK_OFF);
	}
	pthread_mutex_unlock(&e->shadow_lock);
	return r < 0 ? error_system(err, r, "the host does not track written pages") : 0;
}

int pv_dirty_harvest(struct engine *engine, uint64_t *words, struct error *err)
{
	struct pv_engine *e = pv_engine_of(engine);
	int r;

	pthread_mutex_lock(&e->shadow_lock);
	if (e->track == PV_TRACK_OFF)
		r = error_set(err, -EINVAL, "written pages are not being tracked");
	else if (e->track == PV_TRACK_KERNEL)
		r = kernel_harvest(e, words, err);
	else
		r = faults_harvest(e, words);
	if (r == 0 && e->all_written)
		bits_set(words, 0, ram_pages(e));
	if (r == 0)
		e->all_written = false;
	pthread_mutex_unlock(&e->shadow_lock);
	atomic_store(&e->fetch, true);
	pv_vcpu_kick(&e->vcpu);
	return r < 0 ? error_system(err, r, "the host does not tell the written pages") : 0;
}

int pv_dirty_stop(struct engine *engine)
{
	struct pv_engine *e = pv_engine_of(engine);
	int r = 0;

	pthread_mutex_lock(&e->shadow_lock);
	if (e->track == PV_TRACK_KERNEL)
		r = domains_track(e, false, NULL);
	else if (e->track == PV_TRACK_SHADOW)
		r = direct_protect(e, 0, ram_pages(e), RWX);
	e->track = PV_TRACK_OFF;
	atomic_store(&e->fetch, false);
	pv_shadow_track(e->shadows, PV_TRACK_OFF);
	pthread_mutex_unlock(&e->shadow_lock);
	return r;
}

const char *pv_dirty_words(const struct engine *engine)
{
	const struct pv_engine *e = (const struct pv_engine *)engine;

	return e->track_uffd ? "userfaultfd write-protection" : "page protection";
}
