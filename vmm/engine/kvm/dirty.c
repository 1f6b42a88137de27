/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/engine/kvm/kvm.h"

/*
 * Which pages vCPUs have written: KVM's dirty bitmap, cleared by hand. Reading it leaves
 * write protection alone; KVM_CLEAR_DIRTY_LOG protects again just what was read. A page
 * written between the two stays set or is in what was read, and its content is taken after
 * the harvest: nothing is missed (api.rst, KVM_CLEAR_DIRTY_LOG).
 */
#define WORD_BITS 64u
/* An ioctl costs more than the walk over a few clean words in the middle of a run. */
#define GAP_WORDS 16u

static uint64_t slot_words(const struct ram_slot *slot)
{
	return slot->size / RAM_PAGE / WORD_BITS;
}

static int bitmaps_make(struct kvm_engine *e)
{
	const struct ram_slot *slots;
	unsigned n = ram_slots(e->ram, &slots);

	for (unsigned i = 0; i < n; i++) {
		if (!e->dirty.bitmap[i])
			e->dirty.bitmap[i] = calloc(slot_words(&slots[i]), sizeof(uint64_t));
		if (!e->dirty.bitmap[i])
			return -ENOMEM;
	}
	return 0;
}

static int slots_flag(struct kvm_engine *e, uint32_t flags)
{
	const struct ram_slot *slots;
	unsigned n = ram_slots(e->ram, &slots);

	for (unsigned i = 0; i < n; i++) {
		int r = kvm_slot_set(e, i, flags);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Turning the flag on makes a fresh bitmap, all clean, and write-protects the slot. */
int kvm_dirty_start(struct engine *engine, struct error *err)
{
	struct kvm_engine *e = kvm_engine_of(engine);
	int r;

	if (e->dirty.on)
		(void)kvm_dirty_stop(engine);
	r = bitmaps_make(e);
	if (r == 0)
		r = slots_flag(e, KVM_MEM_LOG_DIRTY_PAGES);
	e->dirty.on = true;
	if (r < 0) {
		(void)kvm_dirty_stop(engine);
		return error_system(err, r, "KVM does not track written pages");
	}
	return 0;
}

int kvm_dirty_stop(struct engine *engine)
{
	struct kvm_engine *e = kvm_engine_of(engine);

	if (!e->dirty.on)
		return 0;
	e->dirty.on = false;
	return slots_flag(e, 0);
}

static int run_clear(const struct kvm_engine *e, unsigned slot, uint64_t first, uint64_t words)
{
	struct kvm_clear_dirty_log clear = {
		.slot = slot,
		.first_page = first * WORD_BITS,
		.num_pages = (uint32_t)(words * WORD_BITS),
		.dirty_bitmap = &e->dirty.bitmap[slot][first],
	};

	return kvm_ioctl(e->vm, KVM_CLEAR_DIRTY_LOG, &clear);
}

/* The end of the run of written words that begins at FIRST, short gaps included. */
static uint64_t run_end(const uint64_t *bitmap, uint64_t first, uint64_t words)
{
	uint64_t end = first + 1;

	for (uint64_t i = end; i < words && i - end < GAP_WORDS; i++) {
		if (bitmap[i])
			end = i + 1;
	}
	return end;
}

static int slot_clear(const struct kvm_engine *e, unsigned slot, uint64_t words)
{
	const uint64_t *bitmap = e->dirty.bitmap[slot];

	for (uint64_t at = 0; at < words;) {
		uint64_t end;
		int r;

		if (!bitmap[at]) {
			at++;
			continue;
		}
		end = run_end(bitmap, at, words);
		r = run_clear(e, slot, at, end - at);
		if (r < 0)
			return r;
		at = end;
	}
	return 0;
}

const char *kvm_dirty_words(const struct engine *engine)
{
	(void)engine;
	return "KVM's dirty bitmap";
}

static int slot_harvest(const struct kvm_engine *e, unsigned index, const struct ram_slot *slot,
			uint64_t *words)
{
	struct kvm_dirty_log log = {.slot = index, .dirty_bitmap = e->dirty.bitmap[index]};
	uint64_t *to = words + slot->offset / RAM_PAGE / WORD_BITS;
	int r = kvm_ioctl(e->vm, KVM_GET_DIRTY_LOG, &log);

	if (r < 0)
		return r;
	/* First into the caller's words: what is cleared must not be lost to an error. */
	for (uint64_t i = 0; i < slot_words(slot); i++)
		to[i] |= e->dirty.bitmap[index][i];
	return slot_clear(e, index, slot_words(slot));
}

int kvm_dirty_harvest(struct engine *engine, uint64_t *words, struct error *err)
{
	struct kvm_engine *e = kvm_engine_of(engine);
	const struct ram_slot *slots;
	unsigned n = ram_slots(e->ram, &slots);

	if (!e->dirty.on)
		return error_set(err, -EINVAL, "written pages are not being tracked");
	for (unsigned i = 0; i < n; i++) {
		int r = slot_harvest(e, i, &slots[i], words);

		if (r < 0)
			return error_system(err, r, "KVM does not tell the written pages");
	}
	return 0;
}
