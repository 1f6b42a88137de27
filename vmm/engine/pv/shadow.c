/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/engine/pv/shadow.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/engine/pv/shadow_internal.h"

/* A host lets a process have 65530 mappings, unless told otherwise (vm.max_map_count). */
const struct pv_shadow_limits pv_shadow_usual = {
    .maps = 60000,
    .maps_total = 1000000,
    .bytes = 64ull << 20,
    .around = 16,
};

static bool limits_good(const struct pv_shadow_limits *limits)
{
	unsigned around = limits->around;

	return around && around <= LEAF_PAGES && !(around & (around - 1));
}

static void limits_raise(struct pv_shadow_limits *limits)
{
	if (limits->maps < PV_SHADOW_MAPS_MIN)
		limits->maps = PV_SHADOW_MAPS_MIN;
	if (limits->maps_total < PV_SHADOW_MAPS_MIN)
		limits->maps_total = PV_SHADOW_MAPS_MIN;
	if (limits->bytes < PV_SHADOW_BYTES_MIN)
		limits->bytes = PV_SHADOW_BYTES_MIN;
}

int pv_shadow_set_create(struct ram *ram, const struct pv_shadow_limits *limits,
			 struct pv_shadow_set **ret_set, struct error *err)
{
	struct pv_shadow_set *set;

	if (!limits_good(limits))
		return error_set(err, -EINVAL,
				 "pages tried around a fault: %u is no power of "
				 "two up to %u",
				 limits->around, LEAF_PAGES);
	set = calloc(1, sizeof(*set));
	if (!set)
		return error_system(err, -ENOMEM, "shadow page tables");
	set->ram = ram;
	set->limits = *limits;
	limits_raise(&set->limits);
	set->log_words = (ram_size(ram) / RAM_PAGE + 63) / 64;
	set->log = calloc(set->log_words, sizeof(*set->log));
	if (!set->log) {
		free(set);
		return error_system(err, -ENOMEM, "shadow page tables");
	}
	*ret_set = set;
	return 0;
}

void pv_shadow_set_destroy(struct pv_shadow_set *set)
{
	if (!set)
		return;
	while (set->newest)
		pv_shadow_destroy(set->newest);
	free(set->log);
	free(set);
}

/* New ones count as the set's last to fault. */
static void set_add(struct pv_shadow_set *set, struct pv_shadow *shadow)
{
	shadow->set = set;
	shadow->older = set->newest;
	if (set->newest)
		set->newest->newer = shadow;
	else
		set->oldest = shadow;
	set->newest = shadow;
}

int pv_shadow_create(struct pv_shadow_set *set, uint64_t root, enum pv_mode mode,
		     uint64_t begin, uint64_t end, void *owner, struct pv_shadow **ret_shadow)
{
	struct pv_shadow *shadow;

	if (begin % RAM_PAGE || end % RAM_PAGE || begin >= end || end > SEGUE_PV_VA_END)
		return -EINVAL;
	shadow = calloc(1, sizeof(*shadow));
	if (!shadow)
		return -ENOMEM;
	shadow->root = root;
	shadow->mode = mode;
	shadow->begin = shadow->hand = begin / RAM_PAGE;
	shadow->end = end / RAM_PAGE;
	shadow->owner = owner;
	shadow->maps_limit = set->limits.maps;
	set_add(set, shadow);
	*ret_shadow = shadow;
	return 0;
}

void pv_shadow_destroy(struct pv_shadow *shadow)
{
	struct pv_shadow_set *set;

	if (!shadow)
		return;
	set = shadow->set;
	shadow_tree_free(shadow);
	set->maps -= shadow->maps;
	*(shadow->newer ? &shadow->newer->older : &set->newest) = shadow->older;
	*(shadow->older ? &shadow->older->newer : &set->oldest) = shadow->newer;
	free(shadow);
}

void *pv_shadow_owner(const struct pv_shadow *shadow)
{
	return shadow->owner;
}

void pv_shadow_set_root(struct pv_shadow *shadow, uint64_t root)
{
	shadow->root = root;
}

/* The page numbers of [begin, end) that are the shadow's own. */
static bool range_cut(const struct pv_shadow *shadow, uint64_t *begin, uint64_t *end)
{
	*begin /= RAM_PAGE;
	*end = *end / RAM_PAGE + (*end % RAM_PAGE != 0);
	if (*begin < shadow->begin)
		*begin = shadow->begin;
	if (*end > shadow->end)
		*end = shadow->end;
	return *begin < *end;
}

/* Whether a mapping has been cut in two, and that is one too many. */
static bool flush_grows(const struct pv_shadow *shadow, unsigned before)
{
	return shadow->maps > before && (shadow->maps > shadow->maps_limit ||
					 shadow->set->maps > shadow->set->limits.maps_total);
}

/* Where there must not be one mapping more, what is left behind the cut goes as well. */
static bool flush(struct pv_shadow *shadow, uint64_t begin, uint64_t end, bool losses,
		  struct pv_map *ret_map)
{
	unsigned before = shadow->maps;
	struct pv_map more;
	uint64_t next;

	if (!range_cut(shadow, &begin, &end) ||
	    !shadow_pages_unmap(shadow, begin, end, losses, ret_map))
		return false;
	while (flush_grows(shadow, before)) {
		next = ret_map->va / RAM_PAGE + ret_map->pages;
		if (!shadow_pages_unmap(shadow, next, leaf_base(next) + LEAF_PAGES, true,
					&more))
			break;
		ret_map->pages += more.pages;
	}
	return true;
}

bool pv_shadow_flush(struct pv_shadow *shadow, uint64_t begin, uint64_t end,
		     struct pv_map *ret_map)
{
	return flush(shadow, begin, end, true, ret_map);
}

bool pv_shadow_flush_scanned(struct pv_shadow *shadow, uint64_t begin, uint64_t end,
			     struct pv_map *ret_map)
{
	return flush(shadow, begin, end, false, ret_map);
}

void pv_shadow_limit(struct pv_shadow *shadow, unsigned maps)
{
	shadow->maps_limit = maps > PV_SHADOW_MAPS_MIN ? maps : PV_SHADOW_MAPS_MIN;
}

void pv_shadow_refused(struct pv_shadow *shadow, struct pv_map *ret_map)
{
	pv_shadow_limit(shadow, shadow->maps / 4 * 3);
	/* All of it, also what the shadow knows nothing of: the list was cut short. */
	(void)shadow_pages_unmap(shadow, shadow->begin, shadow->end, true, ret_map);
	*ret_map = (struct pv_map){.op = PV_UNMAP,
				   .va = shadow->begin * RAM_PAGE,
				   .pages = shadow->end - shadow->begin};
}

unsigned pv_shadow_maps(const struct pv_shadow *shadow)
{
	return shadow->maps;
}

uint64_t pv_shadow_pages(const struct pv_shadow *shadow)
{
	return shadow->pages;
}

uint64_t pv_shadow_set_maps(const struct pv_shadow_set *set)
{
	return set->maps;
}

uint64_t pv_shadow_set_bytes(const struct pv_shadow_set *set)
{
	return set->bytes;
}

struct pv_shadow *pv_shadow_next(const struct pv_shadow_set *set, const struct pv_shadow *after)
{
	return after ? after->older : set->newest;
}
