/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "vmm/engine/pv/domain_internal.h"

/* ---- orders ---- */

static int settle(struct pv_domain *domain, const struct seccomp_notif *notif,
		  uint32_t *ret_left)
{
	int64_t error = (int64_t)notif->data.args[0];

	if (!pv_notif_is(notif, PV_CALL_NEXT, shim_next_ip))
		return -EIO;
	domain->mapper_id = notif->id;
	*ret_left = (uint32_t)notif->data.args[1];
	return error < 0 && error >= -4095 ? (int)error : 0;
}

int pv_mapper_exchange(struct pv_domain *domain, uint32_t n, uint32_t *ret_left)
{
	struct seccomp_notif notif;
	int r;

	*ret_left = n;
	/* Another thread than the vCPU's stays where it is. */
	if (pv_this_thread() == atomic_load(&domain->host->runner))
		pv_place(domain->host, domain->mapper, &domain->mapper_cpu);
	r = pv_listener_answer(domain->mapper_listener, domain->mapper_id, n);
	if (!r)
		r = pv_listener_receive_mapper(domain, &notif);
	if (r < 0)
		return -EIO;
	r = settle(domain, &notif, ret_left);
	/* Guest code can read them: where in RAM its pages are is not for it to know. */
	memset(domain->orders, 0, n * sizeof(domain->orders[0]));
	return r;
}

int pv_mapper_call(struct pv_domain *domain, long number, uint64_t a, uint64_t b, uint64_t c,
		   uint64_t d, uint64_t e, uint64_t f)
{
	uint32_t left;
	int r;

	pthread_mutex_lock(&domain->mapper_lock);
	domain->orders[0] = (struct pv_order){(uint64_t)number, {a, b, c, d, e, f}, 0};
	r = pv_mapper_exchange(domain, 1, &left);
	pthread_mutex_unlock(&domain->mapper_lock);
	return r;
}

/* ---- mappings ---- */

/*
 * Execute without read would be done with a protection key, which guest code can change;
 * write without read is nothing the processor has.
 */
static uint64_t rights(int prot)
{
	return (uint64_t)(prot & (PROT_WRITE | PROT_EXEC) ? prot | PROT_READ : prot);
}

static bool valid(const struct pv_domain *domain, const struct pv_map *map)
{
	uint64_t pages = (PV_VA_END - PV_VA_BEGIN) / SEGUE_PV_PAGE;
	uint64_t ram = domain->host->ram_size;

	if (!map->pages || map->pages > pages || map->va % SEGUE_PV_PAGE ||
	    map->va < PV_VA_BEGIN || map->va > PV_VA_END - map->pages * SEGUE_PV_PAGE)
		return false;
	if (map->prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC))
		return false;
	if (map->op != PV_MAP)
		return map->op == PV_UNMAP || map->op == PV_PROTECT;
	return map->offset % SEGUE_PV_PAGE == 0 && map->offset <= ram &&
	       map->pages <= (ram - map->offset) / SEGUE_PV_PAGE;
}

static struct pv_order order_of(const struct pv_map *map)
{
	uint64_t len = map->pages * SEGUE_PV_PAGE;
	uint64_t flags = MAP_SHARED | MAP_FIXED | MAP_NORESERVE;

	if (map->op == PV_UNMAP)
		return (struct pv_order){SYS_munmap, {map->va, len}, 0};
	if (map->op == PV_PROTECT)
		return (struct pv_order){SYS_mprotect, {map->va, len, rights(map->prot)}, 0};
	if (map->populate)
		flags |= MAP_POPULATE;
	return (struct pv_order){
	    SYS_mmap, {map->va, len, rights(map->prot), flags, PV_FD_RAM, map->offset}, 0};
}

/* Neighbours together: with many new mappings each call counts. */
static int track(struct pv_domain *domain, const struct pv_map *maps, size_t n,
		 struct error *err)
{
	pid_t runner = atomic_load(&domain->host->runner); /* 0: nothing has ever run */
	bool quiet = !runner || runner == pv_this_thread();
	uint64_t begin = 0, end = 0;
	int r = 0;

	for (size_t i = 0; !r && i < n; i++) {
		uint64_t map_end = maps[i].va + maps[i].pages * SEGUE_PV_PAGE;

		if (maps[i].op != PV_MAP)
			continue;
		if (maps[i].va != end) {
			if (end)
				r = pv_track_new(domain, begin, end - begin, quiet, err);
			begin = maps[i].va;
		}
		end = map_end;
	}
	return !r && end ? pv_track_new(domain, begin, end - begin, quiet, err) : r;
}

static int carry_out(struct pv_domain *domain, const struct pv_map *maps, uint32_t n,
		     size_t *done, struct error *err)
{
	uint32_t left;
	int r, tracked = 0;

	pthread_mutex_lock(&domain->mapper_lock);
	for (uint32_t i = 0; i < n; i++)
		domain->orders[i] = order_of(&maps[i]);
	r = pv_mapper_exchange(domain, n, &left);
	pthread_mutex_unlock(&domain->mapper_lock);
	if (left > n || (!r && left))
		r = -EIO;
	if (r == -EIO)
		return error_set(err, r, "pv: a guest's process has ended");
	*done += n - left;
	if (domain->tracked)
		tracked = track(domain, maps, n - left, err);
	return r < 0 ? error_system(err, r, "pv: mapping") : tracked;
}

int pv_domain_map(struct pv_domain *domain, const struct pv_map *maps, size_t n,
		  size_t *ret_done, struct error *err)
{
	size_t done = 0, part;
	int r = 0;

	while (!r && done < n) {
		for (part = 0; part < PV_ORDERS_MAX && done + part < n; part++)
			if (!valid(domain, &maps[done + part]))
				break;
		if (part)
			r = carry_out(domain, &maps[done], (uint32_t)part, &done, err);
		else
			r = error_set(err, -EINVAL, "pv: a mapping outside of its place");
	}
	if (ret_done)
		*ret_done = done;
	return r;
}

int pv_domain_unmap(struct pv_domain *domain, uint64_t begin, uint64_t end, struct error *err)
{
	const struct pv_map map = {
	    .op = PV_UNMAP, .va = begin, .pages = (end - begin) / SEGUE_PV_PAGE};

	if (begin >= end || end % SEGUE_PV_PAGE)
		return error_set(err, -EINVAL, "pv: not a range of pages");
	return pv_domain_map(domain, &map, 1, NULL, err);
}
