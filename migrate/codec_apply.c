/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <lz4.h>

#include "migrate/bitmap.h"
#include "migrate/codec.h"

#define HUGE_WRITE 16u /* pages, from which on writing beats copying into huge pages */

/* LENGTH comes from the peer: LZ4 reads no more than it and writes no more than a page. */
static int unpack_lz4(uint8_t *to, const uint8_t *payload, uint32_t length, struct error *err)
{
	int n;

	if (length < 1 || length >= PAGES_PAGE)
		return error_set(err, -EBADMSG, "packed page of %u bytes", length);
	n = LZ4_decompress_safe((const char *)payload, (char *)to, (int)length, PAGES_PAGE);
	if (n != (int)PAGES_PAGE)
		return error_set(err, -EBADMSG, "packed page does not unpack to a page");
	return 0;
}

static int unpack_delta(uint8_t *page, const uint8_t *payload, uint32_t length,
			struct error *err)
{
	uint8_t difference[PAGES_PAGE] __attribute__((aligned(64)));
	int r = unpack_lz4(difference, payload, length, err);

	if (r < 0)
		return r;
	codec_xor(page, page, difference);
	return 0;
}

int codec_unpack(unsigned kind, uint8_t *page, const uint8_t *payload, uint32_t length,
		 struct error *err)
{
	switch (kind) {
	case PAGES_RAW:
		if (length != PAGES_PAGE)
			return error_set(err, -EBADMSG, "raw page of %u bytes", length);
		memcpy(page, payload, PAGES_PAGE);
		return 0;
	case PAGES_LZ4:
		return unpack_lz4(page, payload, length, err);
	case PAGES_DELTA:
		return unpack_delta(page, payload, length, err);
	default:
		return error_set(err, -EBADMSG, "page of kind %u has no payload", kind);
	}
}

/* Only what has been written in this move: reading a hole in shared memory would fill it. */
static int apply_zero(const struct codec_target *target, uint64_t first, uint64_t end,
		      struct error *err)
{
	uint64_t run, n;
	int r = 0;

	while (r == 0 && (n = bitmap_next_run(target->present, first, end, &run)) != 0) {
		if (target->zero)
			r = target->zero(target->context, run, n, err);
		else
			memset(target->base + run * PAGES_PAGE, 0, n * PAGES_PAGE);
		if (r == 0)
			bitmap_clear_range_atomic(target->present, run, n);
		first = run + n;
	}
	return r;
}

/*
 * Whether the entry's pages go through the memfd: none of them has been anything but zero, and
 * one system call for them costs less than faulting them in.
 */
static bool is_fresh(const struct codec_target *target, const struct pages_entry *entry)
{
	uint64_t run;

	return target->fd > 0 && (!target->huge || entry->pages >= HUGE_WRITE) && bitmap_next_run(target->present, entry->first,
						 entry->first + entry->pages, &run) == 0;
}

static int write_fresh(const struct codec_target *target, uint64_t first, const uint8_t *bytes,
		       size_t len, struct error *err)
{
	off_t at = (off_t)(first * PAGES_PAGE);

	while (len) {
		ssize_t n = pwrite(target->fd, bytes, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_system(err, n < 0 ? -errno : -EIO,
					    "cannot write %zu bytes of memory", len);
		bytes += n;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static int apply_raw(const struct codec_target *target, const struct pages_entry *entry,
		     const uint8_t *payload, bool fresh, struct error *err)
{
	size_t len = (size_t)entry->pages * PAGES_PAGE;

	if (fresh)
		return write_fresh(target, entry->first, payload, len, err);
	memcpy(target->base + entry->first * PAGES_PAGE, payload, len);
	return 0;
}

static int apply_packed(const struct codec_target *target, const struct pages_entry *entry,
			const uint8_t *payload, bool fresh, struct error *err)
{
	uint8_t page[PAGES_PAGE] __attribute__((aligned(64)));
	int r;

	if (!fresh || entry->kind != PAGES_LZ4) {
		r = codec_unpack(entry->kind, target->base + entry->first * PAGES_PAGE, payload,
				 entry->length, err);
	} else {
		r = codec_unpack(PAGES_LZ4, page, payload, entry->length, err);
		if (r == 0)
			r = write_fresh(target, entry->first, page, sizeof(page), err);
	}
	if (r < 0)
		error_prefix(err, "page %llu", (unsigned long long)entry->first);
	return r;
}

int codec_apply(const struct codec_target *target, const struct pages_entry *entry,
		const uint8_t *payload, struct error *err)
{
	bool fresh;

	if (entry->first >= target->pages || entry->pages > target->pages - entry->first)
		return error_set(err, -EBADMSG, "pages beyond the region");
	if (entry->kind == PAGES_ZERO)
		return apply_zero(target, entry->first, entry->first + entry->pages, err);
	fresh = is_fresh(target, entry);
	/* Before the bytes: what fails to unpack may have left some. */
	codec_applied(target, entry);
	if (entry->kind == PAGES_RAW)
		return apply_raw(target, entry, payload, fresh, err);
	return apply_packed(target, entry, payload, fresh, err);
}

void codec_applied(const struct codec_target *target, const struct pages_entry *entry)
{
	bitmap_set_range_atomic(target->present, entry->first, entry->pages);
}
