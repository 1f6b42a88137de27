/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "vmm/engine/pv/pv.h"

/*
 * Everything that needs a privilege or a new process's ancestor is made here; domains come
 * from it later, inside the sandbox.
 */
#define DOMAINS_MAX 512u
#define FDS_MAX     16384u
#define FDS_OTHERS  256u /* of what is not the engine's */

/* As many as this user may have, for domains' sake. */
static unsigned fds_take(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return FDS_OTHERS;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
	if (files.rlim_max > FDS_MAX)
		return FDS_MAX - FDS_OTHERS;
	return files.rlim_max < 2 * FDS_OTHERS ? FDS_OTHERS
					       : (unsigned)files.rlim_max - FDS_OTHERS;
}

static void locks_init(struct pv_engine *e)
{
	pthread_condattr_t clock;

	pthread_mutex_init(&e->shadow_lock, NULL);
	pthread_mutex_init(&e->timer.lock, NULL);
	pthread_mutex_init(&e->run.lock, NULL);
	pthread_mutex_init(&e->notify_lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&e->run.cond, &clock);
	pthread_condattr_destroy(&clock);
}

/* Only tests force one; a word that is none must not pass as a choice. */
static int track_choose(struct pv_engine *e, struct error *err)
{
	const char *force = getenv("SEGUE_PV_DIRTY");
	bool available = pv_host_tracking_available(e->host);

	e->track_forced = force && *force;
	e->track_uffd = available;
	if (!e->track_forced)
		return 0;
	e->track_uffd = !strcmp(force, "uffd");
	if (!e->track_uffd && strcmp(force, "mprotect") != 0)
		return error_set(err, -EINVAL,
				 "SEGUE_PV_DIRTY is '%s': must be uffd or mprotect", force);
	if (e->track_uffd && !available)
		return error_set(err, -ENOTSUP,
				 "this host's kernel does not track written pages by "
				 "userfaultfd, which SEGUE_PV_DIRTY asks for");
	return 0;
}

static int check(const struct engine_config *config, struct error *err)
{
	const struct ram_slot *slots;

	if (config->guest->cpus != 1)
		return error_set(err, -EINVAL,
				 "the paravirtual engine gives a guest one processor, not %u",
				 config->guest->cpus);
	if (ram_slots(config->ram, &slots) != 1 ||
	    ram_size(config->ram) > SEGUE_PV_VA_END / 2 - SEGUE_PV_DIRECT)
		return error_set(err, -EINVAL,
				 "%llu MiB of memory are too much for the paravirtual engine",
				 (unsigned long long)ram_size(config->ram) >> 20);
	return 0;
}

static int sizes(struct pv_engine *e, struct error *err)
{
	e->xsave_components = pv_xsave_components();
	e->xsave_size = pv_xsave_size(e->xsave_components);
	e->xsave_host = pv_host_xsave_size(e->host);
	if (e->xsave_host < e->xsave_size)
		return error_set(err, -ENOTSUP,
				 "this host's kernel keeps %zu bytes of floating-point state, "
				 "of %zu its processor has", e->xsave_host, e->xsave_size);
	e->scratch = aligned_alloc(64, (e->xsave_host + 63) & ~63ull);
	return e->scratch ? 0 : error_system(err, -ENOMEM, "floating-point state");
}

/* The processes first: they are to have nothing of what follows. */
static int build(struct pv_engine *e, struct error *err)
{
	int r = pv_host_create(ram_fd(e->ram), ram_size(e->ram), &e->host, err);

	if (r == 0)
		r = sizes(e, err);
	if (r == 0)
		r = track_choose(e, err);
	if (r == 0)
		r = pv_shadow_set_create(e->ram, &pv_shadow_usual, &e->shadows, err);
	if (r == 0)
		r = pv_dirty_prepare(e, err);
	if (r == 0)
		r = pv_contract_make(e, err);
	if (r == 0)
		r = pv_timer_start(e, err);
	return r;
}

int pv_create(const struct engine_config *config, struct engine **ret_engine,
	      struct error *err)
{
	struct pv_engine *e;
	int r = check(config, err);

	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return error_system(err, -ENOMEM, "the engine");
	e->engine.ops = &engine_pv;
	e->vcpu.engine = &e->engine;
	e->ram = config->ram;
	e->kernel.at = PV_AT_NOWHERE;
	e->kernel_root = PV_NO_ROOT;
	e->domains_max = DOMAINS_MAX;
	e->fds_max = fds_take();
	e->timer.fd = -1;
	e->timer.deadline = PV_NEVER;
	locks_init(e);
	pv_clock_start(&e->clock);
	r = build(e, err);
	if (r < 0) {
		pv_destroy(&e->engine);
		return r;
	}
	*ret_engine = &e->engine;
	return 0;
}

void pv_destroy(struct engine *engine)
{
	struct pv_engine *e = pv_engine_of(engine);

	pv_timer_stop(e);
	pv_reset(e);
	pv_shadow_set_destroy(e->shadows);
	pv_host_destroy(e->host);
	free(e->open);
	free(e->scratch);
	pthread_cond_destroy(&e->run.cond);
	pthread_mutex_destroy(&e->notify_lock);
	pthread_mutex_destroy(&e->run.lock);
	pthread_mutex_destroy(&e->timer.lock);
	pthread_mutex_destroy(&e->shadow_lock);
	free(e);
}
