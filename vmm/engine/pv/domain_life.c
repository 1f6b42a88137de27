/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/engine/pv/domain_internal.h"

#define BIRTH_MS 5000 /* nothing of a guest's is in it yet: only a host in trouble takes long  \
		       */

static void link_domain(struct pv_host *host, struct pv_domain *domain)
{
	pthread_mutex_lock(&host->lock);
	domain->next_all = host->domains;
	host->domains = domain;
	pthread_mutex_unlock(&host->lock);
}

static void unlink_domain(struct pv_host *host, struct pv_domain *domain)
{
	struct pv_domain **at;

	pthread_mutex_lock(&host->lock);
	for (at = &host->domains; *at != domain; at = &(*at)->next_all)
		;
	*at = domain->next_all;
	pthread_mutex_unlock(&host->lock);
}

/* ---- birth ---- */

/* Template and mapper say that they wait for orders. */
static int meet(struct pv_domain *domain)
{
	struct seccomp_notif notif;
	int r = pv_listener_receive_within(domain->mapper_listener, BIRTH_MS, &notif);

	if (!r && (!pv_notif_is(&notif, PV_CALL_NEXT, shim_next_ip) || notif.data.args[0]))
		r = -EIO;
	if (r < 0)
		return r;
	domain->mapper_id = notif.id;
	domain->mapper = (pid_t)notif.pid;
	r = pv_listener_receive_within(domain->listener, BIRTH_MS, &notif);
	if (!r && !pv_notif_is(&notif, PV_CALL_TEMPLATE, shim_template_ip))
		r = -EIO;
	if (!r)
		r = pv_listener_pidfd(domain->listener, &notif, &domain->template_pidfd);
	if (r < 0)
		return r;
	domain->template = (pid_t)notif.pid;
	domain->template_id = notif.id;
	return pv_watch_add(domain->host, domain->template_pidfd, domain, NULL, &domain->watch);
}

static int ask(struct pv_domain *domain, bool kernel, struct error *err)
{
	int fds[4], r;

	r = pv_zygote_ask(domain->host, (uint64_t)domain->orders_slot * PV_ORDERS_SIZE, kernel,
			  fds, err);
	if (r < 0)
		return r;
	domain->listener = fds[0];
	domain->mapper_listener = fds[1];
	domain->pagemap = fds[2];
	domain->userfaultfd = fds[3];
	pv_place_tune(domain->host, domain->listener);
	pv_place_tune(domain->host, domain->mapper_listener);
	r = meet(domain);
	return r < 0 ? error_system(err, r == -EMFILE ? -EAGAIN : r,
				    "pv: a new domain does not answer")
		     : 0;
}

static void close_descriptors(struct pv_domain *domain)
{
	const int fds[] = {domain->listener, domain->mapper_listener, domain->pagemap,
			   domain->userfaultfd, domain->template_pidfd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void release(struct pv_domain *domain)
{
	struct pv_host *host = domain->host;

	close_descriptors(domain);
	if (domain->orders_slot != PV_NO_SLOT)
		pv_slots_give(&host->orders, domain->orders_slot);
	pv_slots_done(&domain->indices);
	free(domain->gate_given);
	pthread_mutex_destroy(&domain->mapper_lock);
	free(domain);
}

static struct pv_domain *new_domain(struct pv_host *host)
{
	struct pv_domain *domain = calloc(1, sizeof(*domain));

	if (!domain)
		return NULL;
	domain->host = host;
	domain->listener = domain->mapper_listener = -1;
	domain->pagemap = domain->userfaultfd = domain->template_pidfd = -1;
	domain->indices.max = PV_CONTEXTS;
	domain->watch = domain->orders_slot = PV_NO_SLOT;
	domain->mapper_cpu = -1;
	domain->serial = ++host->serial;
	pthread_mutex_init(&domain->mapper_lock, NULL);
	return domain;
}

static int make_domain(struct pv_host *host, bool kernel, struct pv_domain **ret_domain,
		       struct error *err)
{
	struct pv_domain *domain = new_domain(host);
	int r;

	if (!domain)
		return error_set(err, -EAGAIN, "pv: out of memory");
	r = pv_slots_take(&host->orders, &domain->orders_slot);
	if (r < 0)
		r = error_set(err, -EAGAIN, "pv: too many domains");
	if (!r) {
		domain->orders =
		    (struct pv_order *)(void *)(host->areas +
						(size_t)domain->orders_slot * PV_ORDERS_SIZE);
		r = ask(domain, kernel, err);
	}
	if (r < 0) {
		/* Without its listeners' other ends, what there is of it ends itself. */
		if (domain->template_pidfd >= 0)
			syscall(SYS_pidfd_send_signal, domain->template_pidfd, SIGKILL, NULL,
				0);
		release(domain);
		return r;
	}
	link_domain(host, domain);
	*ret_domain = domain;
	return 0;
}

int pv_domain_create(struct pv_host *host, struct pv_domain **ret_domain, struct error *err)
{
	struct pv_domain *domain;

	while ((domain = host->spares)) {
		host->spares = domain->next_spare;
		host->n_spares--;
		if (!atomic_load(&domain->dead)) {
			*ret_domain = domain;
			return 0;
		}
		pv_domain_end(domain);
	}
	return make_domain(host, false, ret_domain, err);
}

/* None that others used before, and none for others after: it gets descriptors of its own. */
int pv_domain_create_kernel(struct pv_host *host, struct pv_domain **ret_domain,
			    struct error *err)
{
	struct pv_domain *domain;
	int r = make_domain(host, true, &domain, err);

	if (r < 0)
		return r;
	r = pv_gate_make(domain);
	if (r < 0) {
		pv_domain_end(domain);
		return error_system(err, r, "pv: the gate of a guest's kernel");
	}
	*ret_domain = domain;
	return 0;
}

/* ---- end ---- */

void pv_domain_kill(struct pv_domain *domain)
{
	atomic_store(&domain->dead, true);
	syscall(SYS_pidfd_send_signal, domain->template_pidfd, SIGKILL, NULL, 0);
	for (struct pv_context *c = domain->contexts; c; c = c->next)
		pv_context_kill(c);
}

static bool await_all(struct pv_domain *domain)
{
	uint64_t end = pv_now_ms() + PV_BOUND_MS / 2;
	bool gone = pv_await_end(domain->template_pidfd, end);

	for (struct pv_context *c = domain->contexts; c; c = c->next)
		gone = pv_await_end(c->pidfd, end) && gone;
	return gone;
}

/*
 * All frame areas are unmapped before the memory is another domain's: killed processes may
 * run a while yet. Where that cannot be had, the memory is never used again.
 */
void pv_domain_end(struct pv_domain *domain)
{
	struct pv_host *host = domain->host;
	bool clean = !pv_mapper_call(domain, SYS_munmap, PV_AREAS,
				     (uint64_t)PV_CONTEXTS * PV_AREA_SIZE, 0, 0, 0, 0);

	if (domain->gate && pv_mapper_call(domain, SYS_munmap, PV_GATE_BLOCK, PV_AREA_SIZE, 0,
					   0, 0, 0))
		clean = false;
	pv_watch_remove(host, domain->template_pidfd, domain->watch);
	pv_domain_kill(domain);
	if (!clean)
		clean = await_all(domain);
	while (domain->contexts)
		pv_context_end(domain->contexts, clean);
	if (!clean)
		domain->orders_slot = PV_NO_SLOT;
	else if (domain->gate)
		pv_slots_give(&host->frames, domain->gate_slot);
	unlink_domain(host, domain);
	release(domain);
}

/* Everything of its guest's away; false: it cannot be used again. */
static bool reset(struct pv_domain *domain)
{
	struct pv_context *context, *next;

	if (atomic_load(&domain->dead) || pv_mapper_call(domain, SYS_munmap, PV_VA_BEGIN,
							 PV_VA_END - PV_VA_BEGIN, 0, 0, 0, 0))
		return false;
	domain->tracked = false;
	for (context = domain->contexts; context; context = next) {
		next = context->next;
		pv_context_destroy(context);
	}
	return !atomic_load(&domain->dead);
}

void pv_domain_destroy(struct pv_domain *domain)
{
	struct pv_host *host;

	if (!domain)
		return;
	host = domain->host;
	if (domain->gate || host->n_spares >= PV_SPARES_MAX || !reset(domain)) {
		pv_domain_end(domain);
		return;
	}
	domain->next_spare = host->spares;
	host->spares = domain;
	host->n_spares++;
}

void pv_spares_drop(struct pv_host *host)
{
	struct pv_domain *domain;

	while ((domain = host->spares)) {
		host->spares = domain->next_spare;
		pv_domain_end(domain);
	}
	host->n_spares = 0;
}
