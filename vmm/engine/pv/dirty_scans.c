/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "vmm/engine/pv/dirty.h"

/*
 * Written pages by the host's kernel, which is asked for every domain (PV_TRACK_KERNEL). It
 * forgets what it knows of a mapping that goes.
 */
#define MUCH 16u /* pages: a scan costs as much as sending a few */

static int domains_track(struct pv_engine *e, bool on, struct error *err)
{
	struct pv_shadow *s = NULL;
	int r = 0;

	while ((r == 0 || r == -EIO) && (s = pv_shadow_next(e->shadows, s)))
		r = pv_domain_track(pv_domain_of(e, s), on, err);
	return r == -EIO ? 0 : r;
}

int pv_scans_start(struct pv_engine *e)
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

	pv_pages_set(scan->words, (va - SEGUE_PV_DIRECT) / RAM_PAGE, pages);
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
	    pv_domain_scan(pv_domain_of(e, shadow), begin, end, scan_to_log, shadow, NULL) < 0)
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
	return pv_domain_scan(pv_domain_of(e, shadow), begin, SEGUE_PV_VA_END, scan_shadow, &scan,
			      err);
}

int pv_scans_harvest(struct pv_engine *e, uint64_t *words, struct error *err)
{
	struct pv_shadow *s = NULL;
	int r = 0;

	pv_shadow_harvest(e->shadows, words);
	while ((r == 0 || r == -EIO) && (s = pv_shadow_next(e->shadows, s)))
		r = domain_scan(e, s, words, err);
	return r == -EIO ? 0 : r;
}

int pv_scans_stop(struct pv_engine *e)
{
	return domains_track(e, false, NULL);
}
