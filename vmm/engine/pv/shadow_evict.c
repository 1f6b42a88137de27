/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making room. The host says nothing of which mappings are in use, so this is second chance by
 * faults: a hand goes through a shadow in order of addresses, passes over leaves that had a
 * fault since it last came by, and takes a stretch of leaves at once, because one unmapping of
 * many mappings costs the host little more than one of one.
 */
#include "vmm/engine/pv/shadow_internal.h"

#define BATCH_MAPS  64u /* taken beyond need, so that not every fault evicts */
#define BATCH_BYTES 0x8000ull
#define PASSES      64u /* leaves passed over at most: a bound for one fault */

/* How much is to go. */
struct room {
	uint64_t maps, bytes;
};

static struct shadow_leaf *hand_leaf(struct pv_shadow *shadow)
{
	struct shadow_leaf *leaf = shadow_leaf_next(shadow, &shadow->hand);

	if (leaf)
		return leaf;
	shadow->hand = shadow->begin;
	return shadow_leaf_next(shadow, &shadow->hand);
}

static struct shadow_leaf *hand_pass(struct pv_shadow *shadow)
{
	struct shadow_leaf *leaf = hand_leaf(shadow);

	for (unsigned i = 0; leaf && leaf->recent && i < PASSES; i++) {
		leaf->recent = false;
		shadow->hand += LEAF_PAGES;
		leaf = hand_leaf(shadow);
	}
	return leaf;
}

/*
 * From the hand on, until ROOM is made or the addresses end. False when nothing is mapped.
 * Never stops where there are more mappings than before: a mapping that is cut in two is one
 * more, not one less.
 */
static bool evict(struct pv_shadow *shadow, const struct room *room, struct pv_map *ret_map)
{
	struct pv_shadow_set *set = shadow->set;
	uint64_t maps = shadow->maps > room->maps ? shadow->maps - room->maps : 0;
	uint64_t bytes = set->bytes > room->bytes ? set->bytes - room->bytes : 0;
	struct pv_map map;

	if (!hand_pass(shadow))
		return false;
	ret_map->pages = 0;
	while ((shadow->maps > maps || set->bytes > bytes) &&
	       shadow_leaf_next(shadow, &shadow->hand)) {
		bool any = shadow_pages_unmap(shadow, shadow->hand, shadow->hand + LEAF_PAGES,
					      true, &map);

		shadow->hand += LEAF_PAGES;
		if (!any)
			continue;
		if (!ret_map->pages)
			*ret_map = map;
		ret_map->pages = (map.va - ret_map->va) / RAM_PAGE + map.pages;
	}
	return ret_map->pages != 0;
}

static uint64_t excess(uint64_t used, uint64_t need, uint64_t limit)
{
	return used + need > limit ? used + need - limit : 0;
}

static struct room set_excess(const struct pv_shadow_set *set, unsigned need)
{
	return (struct room){
	    .maps = excess(set->maps, need, set->limits.maps_total),
	    .bytes = excess(set->bytes, SHADOW_PATH_BYTES, set->limits.bytes),
	};
}

/* Of the other shadows that have something mapped, the one whose last fault is longest ago. */
static struct pv_shadow *victim(const struct pv_shadow *shadow)
{
	struct pv_shadow *other = shadow->set->oldest;

	while (other && (other == shadow || !other->pages))
		other = other->newer;
	return other;
}

static bool room_wanted(const struct room *room)
{
	return room->maps || room->bytes;
}

static void room_batch(struct room *room)
{
	room->maps += room->maps ? BATCH_MAPS : 0;
	room->bytes += room->bytes ? BATCH_BYTES : 0;
}

/* True where another shadow has to give; RET says so then. */
static bool relieve(struct pv_shadow *shadow, struct room *room, struct pv_fault *ret)
{
	struct pv_shadow *other = room_wanted(room) ? victim(shadow) : NULL;

	if (!other)
		return false;
	room_batch(room);
	if (!evict(other, room, &ret->maps[0]))
		return false;
	ret->answer = PV_FAULT_RELIEVE;
	ret->other = other;
	ret->n = 1;
	return true;
}

static struct room own_excess(const struct pv_shadow *shadow, unsigned need)
{
	struct room room = set_excess(shadow->set, need);
	uint64_t maps = excess(shadow->maps, need, shadow->maps_limit);

	if (maps > room.maps)
		room.maps = maps;
	return room;
}

/*
 * Three stretches are enough: to the end of addresses, from their begin over at most PASSES
 * recent leaves to the end, and those leaves, which are recent no more.
 */
bool shadow_make_room(struct pv_shadow *shadow, unsigned need, struct pv_fault *ret)
{
	struct room room = set_excess(shadow->set, need);

	if (relieve(shadow, &room, ret))
		return false;
	for (ret->n = 0; ret->n < SHADOW_EVICTIONS; ret->n++) {
		room = own_excess(shadow, need);
		if (!room_wanted(&room))
			break;
		room_batch(&room);
		if (!evict(shadow, &room, &ret->maps[ret->n]))
			break;
	}
	return true;
}
