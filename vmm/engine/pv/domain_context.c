/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

#define SPARES_MAX 4u /* contexts kept in a domain */
#define RESET_MS   20 /* what ends anyway is not waited for long */
#define BIRTH_MS   5000

uint64_t pv_context_area(const struct pv_context *context)
{
	return PV_AREAS + (uint64_t)context->index * PV_AREA_SIZE;
}

struct pv_context *pv_context_find(struct pv_domain *domain, uint32_t pid)
{
	struct pv_context *c = domain->contexts;

	/* A dead one's number may be another's by now. */
	while (c && ((uint32_t)c->pid != pid || atomic_load(&c->dead)))
		c = c->next;
	return c;
}

/* The watcher ends the wait of who waits for it. */
void pv_context_kill(struct pv_context *context)
{
	atomic_store(&context->dead, true);
	syscall(SYS_pidfd_send_signal, context->pidfd, SIGKILL, NULL, 0);
}

/* ---- birth ---- */

/*
 * The only system calls that a task with a guest's filter is ever let make: the template's
 * clone() and the newborn's prctl(), both by code of ours that guest code cannot have
 * touched, with arguments in registers alone.
 */
static bool is_clone(const struct pv_context *context, const struct seccomp_notif *n)
{
	const uint64_t *a = (const uint64_t *)n->data.args;

	return pv_notif_is(n, SYS_clone, shim_clone_ip) &&
	       (pid_t)n->pid == context->domain->template && a[0] == PV_CLONE_FLAGS &&
	       a[1] == pv_context_area(context) + PV_AREA_SIZE && !a[2] && !a[3] && !a[4];
}

static bool is_prctl(const struct seccomp_notif *n)
{
	const uint64_t *a = (const uint64_t *)n->data.args;

	return pv_notif_is(n, SYS_prctl, shim_prctl_ip) && a[0] == PR_SET_PDEATHSIG &&
	       a[1] == SIGKILL;
}

#define STRANGERS 16u
struct birth {
	struct pv_context *context;
	bool cloned; /* the template has been let make it */
	pid_t child; /* by the template's word, which then waits for orders again */
	bool ready;  /* it waits for registers */
	int error;   /* there is none, or it is ending */
	/* Whom nobody knows yet: the newborn, and contexts that have been killed but not ended.
	 */
	struct seccomp_notif strangers[STRANGERS];
	unsigned n_strangers;
};

static int on_newborn(struct birth *birth, const struct seccomp_notif *n)
{
	struct pv_context *context = birth->context;
	int listener = context->domain->listener;

	if (is_prctl(n)) {
		if (!context->pid)
			birth->error = pv_listener_pidfd(listener, n, &context->pidfd);
		if (birth->error < 0) /* which it takes for the end */
			return pv_listener_answer(listener, n->id, -1);
		context->pid = (pid_t)n->pid;
		return pv_listener_continue(listener, n->id);
	}
	if (!context->pid || !pv_notif_is(n, PV_CALL_STOP, shim_stop_ip))
		return -EIO;
	context->state = PV_PARKED;
	context->id = n->id;
	birth->ready = true;
	return 0;
}

static int on_stranger(struct birth *birth, const struct seccomp_notif *n)
{
	if (birth->child)
		return (pid_t)n->pid == birth->child ? on_newborn(birth, n) : 0;
	if (birth->n_strangers == STRANGERS)
		return -EIO;
	birth->strangers[birth->n_strangers++] = *n;
	return 0;
}

static int order_birth(const struct pv_context *context)
{
	struct pv_domain *domain = context->domain;

	return pv_listener_answer(domain->listener, domain->template_id,
				  (int64_t)(pv_context_area(context) + PV_AREA_SIZE));
}

static int on_child(struct birth *birth, int64_t child)
{
	int r = 0;

	if (child < 0)
		birth->error = -EAGAIN;
	else
		birth->child = (pid_t)child;
	for (unsigned i = 0; !r && birth->child && i < birth->n_strangers; i++)
		r = on_stranger(birth, &birth->strangers[i]);
	return r;
}

static int on_template(struct birth *birth, const struct seccomp_notif *n)
{
	struct pv_domain *domain = birth->context->domain;
	int64_t child = (int64_t)n->data.args[0];
	int r;

	if (!birth->child && is_clone(birth->context, n)) {
		r = pv_listener_continue(domain->listener, n->id);
		birth->cloned = birth->cloned || !r;
		return r;
	}
	if (!pv_notif_is(n, PV_CALL_TEMPLATE, shim_template_ip))
		return -EIO;
	domain->template_id = n->id;
	if (!birth->cloned)
		return order_birth(birth->context); /* it waits anew */
	if (birth->child)
		return 0; /* the same */
	return child ? on_child(birth, child) : -EIO;
}

/* -ENOENT: the host stopped whom we answered, and its call comes again. */
static int be_born(struct birth *birth)
{
	struct pv_context *context = birth->context, *sibling;
	struct pv_domain *domain = context->domain;
	struct seccomp_notif n;
	int r;

	r = order_birth(context);
	while ((!r || r == -ENOENT) && !birth->ready && !birth->error) {
		/* No guest code is waited for: only a host in trouble takes long. */
		r = pv_listener_receive_within(domain->listener, BIRTH_MS, &n);
		if (r < 0)
			break;
		sibling = pv_context_find(domain, n.pid);
		if (sibling)
			pv_context_file(sibling, &n);
		else if ((pid_t)n.pid == domain->template)
			r = on_template(birth, &n);
		else
			r = on_stranger(birth, &n);
	}
	if (r < 0) /* what became of the template is not known */
		pv_domain_kill(domain);
	return r < 0 ? r : birth->error;
}

static int map_area(struct pv_context *context)
{
	struct pv_host *host = context->domain->host;
	uint64_t offset =
	    (uint64_t)PV_DOMAINS_MAX * PV_ORDERS_SIZE + (uint64_t)context->slot * PV_AREA_SIZE;

	context->area = host->areas + offset;
	return pv_mapper_call(context->domain, SYS_mmap, pv_context_area(context), PV_AREA_SIZE,
			      PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, PV_FD_AREAS,
			      offset);
}

static void link_context(struct pv_context *context)
{
	struct pv_domain *domain = context->domain;

	pthread_mutex_lock(&domain->host->lock);
	context->next = domain->contexts;
	domain->contexts = context;
	if (domain->gate)
		domain->host->gatekeeper = context;
	pthread_mutex_unlock(&domain->host->lock);
}

static int take_slots(struct pv_context *context)
{
	struct pv_domain *domain = context->domain;
	int r = pv_slots_take(&domain->host->frames, &context->slot);

	if (r < 0)
		return r;
	r = pv_slots_take(&domain->indices, &context->index);
	if (r < 0)
		pv_slots_give(&domain->host->frames, context->slot);
	return r;
}

/* Half made, it goes; the domain may be of no more use then, and says so when asked again. */
static void unmake(struct pv_context *context)
{
	struct pv_domain *domain = context->domain;
	bool clean;

	if (context->pidfd >= 0) {
		pv_context_kill(context);
		close(context->pidfd);
	}
	clean = !pv_mapper_call(domain, SYS_munmap, pv_context_area(context), PV_AREA_SIZE, 0,
				0, 0, 0);
	if (clean) {
		pv_slots_give(&domain->host->frames, context->slot);
		pv_slots_give(&domain->indices, context->index);
	}
	free(context);
}

static int make_context(struct pv_domain *domain, struct pv_context **ret_context,
			struct error *err)
{
	struct pv_context *context = calloc(1, sizeof(*context));
	struct birth birth = {.context = context};
	int r;

	if (!context)
		return error_set(err, -EAGAIN, "pv: out of memory");
	context->domain = domain;
	context->pidfd = context->cpu = -1;
	r = take_slots(context);
	if (r < 0) {
		free(context);
		return error_set(err, -EAGAIN, "pv: too many threads of guests");
	}
	r = map_area(context);
	if (!r)
		r = be_born(&birth);
	if (!r)
		r = pv_watch_add(domain->host, context->pidfd, domain, context,
				 &context->watch);
	if (r < 0) {
		unmake(context);
		if (r == -ENOMEM || r == -EMFILE || r == -ENFILE)
			r = -EAGAIN;
		return error_system(err, r, "pv: cannot make a thread of a guest");
	}
	link_context(context);
	*ret_context = context;
	return 0;
}

int pv_context_create(struct pv_domain *domain, struct pv_context **ret_context,
		      struct error *err)
{
	struct pv_context *context, *next;

	for (context = domain->contexts; context && domain->n_spares; context = next) {
		next = context->next;
		if (!context->spare)
			continue;
		context->spare = false;
		domain->n_spares--;
		if (!atomic_load(&context->dead)) {
			*ret_context = context;
			return 0;
		}
		pv_context_destroy(context);
	}
	return make_context(domain, ret_context, err);
}

/* ---- end ---- */

void pv_context_end(struct pv_context *context, bool reuse)
{
	struct pv_domain *domain = context->domain;
	struct pv_context **at;

	pv_watch_remove(domain->host, context->pidfd, context->watch);
	pthread_mutex_lock(&domain->host->lock);
	for (at = &domain->contexts; *at != context; at = &(*at)->next)
		;
	*at = context->next;
	if (domain->host->gatekeeper == context)
		domain->host->gatekeeper = NULL;
	pthread_mutex_unlock(&domain->host->lock);
	close(context->pidfd);
	if (reuse) {
		madvise(context->area, PV_AREA_SIZE, MADV_REMOVE);
		pv_slots_give(&domain->host->frames, context->slot);
		pv_slots_give(&domain->indices, context->index);
	}
	free(context);
}

/*
 * Takes everything from its guest, for another: registers are set anew anyhow, signal mask
 * and alternate stack with them.
 */
static bool reset(struct pv_context *context)
{
	if (context->state == PV_RUNNING || pv_context_park(context, RESET_MS) < 0 ||
	    madvise(context->area, PV_AREA_SIZE, MADV_REMOVE) < 0)
		return false;
	context->call_open = context->has_value = context->has_registers = false;
	context->frame = context->xstate = context->fs_base = context->gs_base = 0;
	context->composed = false;
	context->signal = 0;
	atomic_store(&context->kicked, false);
	return !atomic_load(&context->dead);
}

void pv_context_destroy(struct pv_context *context)
{
	struct pv_domain *domain;

	if (!context)
		return;
	domain = context->domain;
	if (context->spare)
		return; /* by way of its domain */
	if (!atomic_load(&domain->dead) && domain->n_spares < SPARES_MAX && reset(context)) {
		context->spare = true;
		domain->n_spares++;
		return;
	}
	pv_context_kill(context);
	pv_context_end(context, !pv_mapper_call(domain, SYS_munmap, pv_context_area(context),
						PV_AREA_SIZE, 0, 0, 0, 0));
}
