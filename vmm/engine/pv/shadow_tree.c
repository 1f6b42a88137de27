/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of what a shadow has mapped: finding, making and freeing its leaves. */
#include <stdlib.h>

#include "vmm/engine/pv/shadow_internal.h"

#define LEAF_BITS       6u
#define TOP_SHIFT       (LEAF_BITS + (NODE_LEVELS - 1) * NODE_BITS)
#define MALLOC_OVERHEAD 16u

_Static_assert(1ull << (TOP_SHIFT + NODE_BITS) == PAGE_NUMBERS, "the tree spans all addresses");
_Static_assert(1u << LEAF_BITS == LEAF_PAGES, "a leaf is a word's worth of pages");
#define PATH_BYTES                                                                             \
	(sizeof(struct shadow_leaf) + NODE_LEVELS * sizeof(struct shadow_node) +               \
	 (NODE_LEVELS + 1) * MALLOC_OVERHEAD)
_Static_assert(PATH_BYTES <= SHADOW_PATH_BYTES,
	       "room for one more page is room for its leaf and the way there");

static unsigned slot_of(uint64_t number, unsigned shift)
{
	return (unsigned)(number >> shift) & (NODE_SLOTS - 1);
}

static void *tree_calloc(struct pv_shadow *shadow, size_t size)
{
	void *at = calloc(1, size);

	if (at)
		shadow->set->bytes += size + MALLOC_OVERHEAD;
	return at;
}

static void tree_free(struct pv_shadow *shadow, void *at, size_t size)
{
	free(at);
	shadow->set->bytes -= size + MALLOC_OVERHEAD;
}

struct shadow_leaf *shadow_leaf_find(const struct pv_shadow *shadow, uint64_t number)
{
	const struct shadow_node *node = shadow->top;
	unsigned shift = TOP_SHIFT;

	if (number >= PAGE_NUMBERS)
		return NULL;
	for (; node && shift > LEAF_BITS; shift -= NODE_BITS)
		node = node->slots[slot_of(number, shift)];
	return node ? node->slots[slot_of(number, shift)] : NULL;
}

/* What is in the slot, made where it is empty. */
static void *slot_fill(struct pv_shadow *shadow, struct shadow_node *node, unsigned slot,
		       size_t size)
{
	if (!node->slots[slot]) {
		node->slots[slot] = tree_calloc(shadow, size);
		if (node->slots[slot])
			node->live[slot / 64] |= 1ull << (slot % 64);
	}
	return node->slots[slot];
}

static void *slot_make(struct pv_shadow *shadow, struct shadow_node *node, uint64_t number,
		       unsigned shift)
{
	unsigned slot = slot_of(number, shift);

	if (shift == LEAF_BITS)
		return slot_fill(shadow, node, slot, sizeof(struct shadow_leaf));
	if (!slot_fill(shadow, node, slot, sizeof(struct shadow_node)))
		return NULL;
	return slot_make(shadow, node->slots[slot], number, shift - NODE_BITS);
}

struct shadow_leaf *shadow_leaf_make(struct pv_shadow *shadow, uint64_t number)
{
	struct shadow_leaf *leaf = shadow_leaf_find(shadow, number);

	if (leaf)
		return leaf;
	if (!shadow->top)
		shadow->top = tree_calloc(shadow, sizeof(*shadow->top));
	return shadow->top ? slot_make(shadow, shadow->top, number, TOP_SHIFT) : NULL;
}

/* The first slot in use from FROM on, NODE_SLOTS if there is none. */
static unsigned slot_next(const struct shadow_node *node, unsigned from)
{
	for (unsigned word = from / 64; word < NODE_SLOTS / 64; word++) {
		uint64_t live = node->live[word];

		if (word == from / 64)
			live &= ~0ull << (from % 64);
		if (live)
			return word * 64 + first_bit(live);
	}
	return NODE_SLOTS;
}

/* Down from NODE, whose slots span 1 << SHIFT pages each. Three levels deep, no deeper. */
static struct shadow_leaf *next_below(const struct shadow_node *node, unsigned shift,
				      uint64_t *number)
{
	unsigned slot = slot_of(*number, shift);

	for (;;) {
		unsigned next = slot_next(node, slot);
		struct shadow_leaf *leaf;

		if (next == NODE_SLOTS)
			return NULL;
		if (next != slot)
			*number = (*number >> (shift + NODE_BITS) << NODE_BITS | next) << shift;
		if (shift == LEAF_BITS) {
			*number = leaf_base(*number);
			return node->slots[next];
		}
		leaf = next_below(node->slots[next], shift - NODE_BITS, number);
		if (leaf || next + 1 == NODE_SLOTS)
			return leaf;
		/* Nothing in there behind *NUMBER: go on at the begin of the slot behind. */
		slot = next + 1;
		*number = (*number >> (shift + NODE_BITS) << NODE_BITS | slot) << shift;
	}
}

struct shadow_leaf *shadow_leaf_next(const struct pv_shadow *shadow, uint64_t *number)
{
	uint64_t at = *number;
	struct shadow_leaf *leaf;

	if (!shadow->top || at >= PAGE_NUMBERS)
		return NULL;
	leaf = next_below(shadow->top, TOP_SHIFT, &at);
	if (leaf)
		*number = at;
	return leaf;
}

static bool node_empty(const struct shadow_node *node)
{
	return !(node->live[0] | node->live[1]);
}

/* Whether NODE has nothing more in it. */
static bool drop_below(struct pv_shadow *shadow, struct shadow_node *node, uint64_t number,
		       unsigned shift)
{
	unsigned slot = slot_of(number, shift);
	size_t size = sizeof(struct shadow_leaf);

	if (shift > LEAF_BITS) {
		size = sizeof(struct shadow_node);
		if (!drop_below(shadow, node->slots[slot], number, shift - NODE_BITS))
			return false;
	}
	tree_free(shadow, node->slots[slot], size);
	node->slots[slot] = NULL;
	node->live[slot / 64] &= ~(1ull << (slot % 64));
	return node_empty(node);
}

void shadow_leaf_drop(struct pv_shadow *shadow, uint64_t number)
{
	if (!drop_below(shadow, shadow->top, number, TOP_SHIFT))
		return;
	tree_free(shadow, shadow->top, sizeof(*shadow->top));
	shadow->top = NULL;
}

static void free_below(struct pv_shadow *shadow, struct shadow_node *node, unsigned shift)
{
	for (unsigned slot = slot_next(node, 0); slot < NODE_SLOTS;
	     slot = slot_next(node, slot + 1)) {
		if (shift == LEAF_BITS)
			tree_free(shadow, node->slots[slot], sizeof(struct shadow_leaf));
		else
			free_below(shadow, node->slots[slot], shift - NODE_BITS);
	}
	tree_free(shadow, node, sizeof(*node));
}

void shadow_tree_free(struct pv_shadow *shadow)
{
	if (shadow->top)
		free_below(shadow, shadow->top, TOP_SHIFT);
	shadow->top = NULL;
}
