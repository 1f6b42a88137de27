/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "vmm/engine/pv/dirty.h"

/*
 * Which pages guest code has written: the engine's dirty source, in one of two ways.
 *
 * A page that is written while a harvest is under way is in that harvest: it was writable,
 * and what is writable is in the log; its content is taken afterwards.
 */

struct pv_domain *pv_domain_of(struct pv_engine *e, const struct pv_shadow *shadow)
{
	const struct pv_space *space = pv_shadow_owner(shadow);

	return space ? space->domain : e->kernel.domain;
}

void pv_pages_set(uint64_t *words, uint64_t first, uint64_t n)
{
	for (uint64_t i = first; i < first + n; i++)
		words[i / 64] |= 1ull << i % 64;
}

/* The kernel's domain goes, and takes what is known of its writes with it. */
void pv_dirty_forget(struct pv_engine *e)
{
	e->all_written = e->track != PV_TRACK_OFF;
}

int pv_dirty_join_kernel(struct pv_engine *e, struct error *err)
{
	if (e->track == PV_TRACK_SHADOW)
		return pv_direct_close(e);
	return pv_dirty_join(e, e->kernel.domain, err);
}

int pv_dirty_join(struct pv_engine *e, struct pv_domain *domain, struct error *err)
{
	return e->track == PV_TRACK_KERNEL ? pv_domain_track(domain, true, err) : 0;
}

int pv_dirty_start(struct engine *engine, struct error *err)
{
	struct pv_engine *e = pv_engine_of(engine);
	int r = -ENOTSUP;

	if (e->track != PV_TRACK_OFF)
		(void)pv_dirty_stop(engine);
	pthread_mutex_lock(&e->shadow_lock);
	if (e->track_uffd)
		r = pv_scans_start(e);
	if (r < 0 && !(e->track_uffd && e->track_forced)) {
		e->track_uffd = false;
		r = pv_faults_start(e);
	}
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
		r = pv_scans_harvest(e, words, err);
	else
		r = pv_faults_harvest(e, words);
	if (r == 0 && e->all_written)
		pv_pages_set(words, 0, ram_size(e->ram) / RAM_PAGE);
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
		r = pv_scans_stop(e);
	else if (e->track == PV_TRACK_SHADOW)
		r = pv_faults_stop(e);
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
