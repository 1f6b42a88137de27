/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/ram.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/ram_file.h"

#define RAM_ALIGN    0x200000ull /* a huge page, so that the host can use them */
#define RAM_SIZE_MAX (1ull << 40)
#define WORD_PAGES   64u

struct ram {
	int fd;
	bool huge;
	uint8_t *base;
	uint64_t size;
	struct ram_slot slots[RAM_SLOTS];
	unsigned n_slots;

	/* Any thread. */
	atomic_bool tracking;
	_Atomic uint64_t *dirty; /* a bit a page, by offset */
	size_t n_words;
};

/* LOW bytes at most in the first slot. */
static void ram_lay_out(struct ram *ram, uint64_t low)
{
	if (low > ram->size)
		low = ram->size;
	ram->slots[0] = (struct ram_slot){ .gpa = 0, .offset = 0, .size = low };
	ram->n_slots = 1;
	if (ram->size > low) {
		ram->slots[1] = (struct ram_slot){ .gpa = RAM_HIGH, .offset = low,
						   .size = ram->size - low };
		ram->n_slots = 2;
	}
}

/* Maps the memfd at a huge page's boundary, which mmap() by itself does not promise. */
static int ram_map(struct ram *ram)
{
	size_t room = ram->size + RAM_ALIGN;
	uint8_t *area, *base;
	size_t head;

	area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return -errno;
	head = (size_t)(-(uintptr_t)area & (RAM_ALIGN - 1));
	base = mmap(area + head, ram->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		    ram->fd, 0);
	if (base == MAP_FAILED) {
		int error = -errno;

		munmap(area, room);
		return error;
	}
	if (head)
		munmap(area, head);
	munmap(base + ram->size, RAM_ALIGN - head);
	ram->base = base;
	/* Only a wish: hosts that have huge pages switched off say EINVAL. */
	(void)madvise(base, ram->size, MADV_HUGEPAGE);
	/* A core dump of the monitor must not carry the guest's memory away. */
	(void)madvise(base, ram->size, MADV_DONTDUMP);
	return 0;
}

static int ram_open(struct ram *ram, struct error *err)
{
	int error = ram_file_create(ram->size, &ram->fd, &ram->huge, err);

	if (error)
		return error;
	error = ram_map(ram);
	if (error)
		return error_system(err, error, "cannot map %llu MiB of guest memory",
				    (unsigned long long)ram->size >> 20);
	return 0;
}

static int ram_build(uint64_t size, uint64_t low, struct ram **ret_ram, struct error *err)
{
	struct ram *ram;
	int error;

	if (!size || size % RAM_ALIGN || size > RAM_SIZE_MAX)
		return error_set(err, -EINVAL,
				 "guest memory of %llu bytes: must be a multiple of 2 MiB, "
				 "1 TiB at most",
				 (unsigned long long)size);
	ram = calloc(1, sizeof(*ram));
	if (!ram)
		return error_system(err, -ENOMEM, "guest memory");
	ram->fd = -1;
	ram->size = size;
	ram->n_words = size / RAM_PAGE / WORD_PAGES;
	ram_lay_out(ram, low);
	ram->dirty = calloc(ram->n_words, sizeof(*ram->dirty));
	if (ram->dirty)
		error = ram_open(ram, err);
	else
		error = error_system(err, -ENOMEM, "the bitmap of guest memory");
	if (error) {
		ram_destroy(ram);
		return error;
	}
	*ret_ram = ram;
	return 0;
}

int ram_create(uint64_t size, struct ram **ret_ram, struct error *err)
{
	return ram_build(size, RAM_HOLE, ret_ram, err);
}

int ram_create_flat(uint64_t size, struct ram **ret_ram, struct error *err)
{
	return ram_build(size, size, ret_ram, err);
}

void ram_destroy(struct ram *ram)
{
	if (!ram)
		return;
	if (ram->base)
		munmap(ram->base, ram->size);
	if (ram->fd >= 0)
		close(ram->fd);
	free((void *)ram->dirty);
	free(ram);
}

uint64_t ram_size(const struct ram *ram)
{
	return ram->size;
}

unsigned ram_slots(const struct ram *ram, const struct ram_slot **ret_slots)
{
	*ret_slots = ram->slots;
	return ram->n_slots;
}

uint8_t *ram_base(const struct ram *ram)
{
	return ram->base;
}

int ram_fd(const struct ram *ram)
{
	return ram->fd;
}

bool ram_huge(const struct ram *ram)
{
	return ram->huge;
}

static bool ram_offset(const struct ram *ram, uint64_t gpa, uint64_t len, uint64_t *ret_offset)
{
	for (unsigned i = 0; i < ram->n_slots; i++) {
		const struct ram_slot *slot = &ram->slots[i];

		if (gpa < slot->gpa || gpa - slot->gpa >= slot->size)
			continue;
		if (len > slot->size - (gpa - slot->gpa))
			return false;
		*ret_offset = slot->offset + (gpa - slot->gpa);
		return true;
	}
	return false;
}

void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	uint64_t offset;

	return ram_offset(ram, gpa, len, &offset) ? ram->base + offset : NULL;
}

int ram_read(const struct ram *ram, uint64_t gpa, void *to, uint64_t len)
{
	const void *from = ram_at(ram, gpa, len);

	if (!from)
		return -EFAULT;
	memcpy(to, from, len);
	return 0;
}

int ram_write(struct ram *ram, uint64_t gpa, const void *from, uint64_t len)
{
	void *to = ram_at(ram, gpa, len);

	if (!to)
		return -EFAULT;
	memcpy(to, from, len);
	ram_mark(ram, gpa, len);
	return 0;
}

/* The bits of word WORD that lie in pages FIRST to LAST. */
static uint64_t ram_word_mask(uint64_t word, uint64_t first, uint64_t last)
{
	uint64_t from = word == first / WORD_PAGES ? first % WORD_PAGES : 0;
	uint64_t to = word == last / WORD_PAGES ? last % WORD_PAGES : WORD_PAGES - 1;

	return (~0ull >> (WORD_PAGES - 1 - to + from)) << from;
}

void ram_mark(struct ram *ram, uint64_t gpa, uint64_t len)
{
	uint64_t offset, first, last;

	/*
	 * The fence orders the bytes before the look at the flag: a writer that sees
	 * tracking off has made its bytes visible to whoever turned it on.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&ram->tracking, memory_order_relaxed))
		return;
	if (!len || !ram_offset(ram, gpa, len, &offset))
		return;
	first = offset / RAM_PAGE;
	last = (offset + len - 1) / RAM_PAGE;
	for (uint64_t word = first / WORD_PAGES; word <= last / WORD_PAGES; word++)
		atomic_fetch_or_explicit(&ram->dirty[word], ram_word_mask(word, first, last),
					 memory_order_release);
}

void ram_track(struct ram *ram, bool on)
{
	/* Off first: a late marker of the last run must not survive the clearing. */
	atomic_store(&ram->tracking, false);
	if (!on)
		return;
	for (size_t i = 0; i < ram->n_words; i++)
		atomic_store_explicit(&ram->dirty[i], 0, memory_order_relaxed);
	atomic_store(&ram->tracking, true);
	atomic_thread_fence(memory_order_seq_cst);
}

void ram_harvest(struct ram *ram, uint64_t *words)
{
	for (size_t i = 0; i < ram->n_words; i++) {
		if (!atomic_load_explicit(&ram->dirty[i], memory_order_relaxed))
			continue;
		words[i] |= atomic_exchange_explicit(&ram->dirty[i], 0, memory_order_acquire);
	}
}
