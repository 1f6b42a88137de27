/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_BLK_FILE_H
#define VMM_VIRTIO_BLK_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/error.h"

/*
 * The raw image or block device behind a disk. All calls but open and close may be made
 * from several threads at once, and block. Offsets and lengths are in bytes and have been
 * checked against SIZE.
 */
#define BLK_SECTOR 512u

struct blk_file {
	int fd;
	bool readonly;
	bool direct;     /* past the host's page cache */
	uint32_t block;  /* the guest's logical block: 512, or what direct access asks for */
	uint32_t memory; /* alignment of memory for direct access; a power of two */
	uint64_t size;   /* bytes, a multiple of BLK_SECTOR; what is behind it is not seen */
};

/* DIRECT is a wish: where the filesystem cannot (tmpfs), the page cache is used. */
int blk_file_open(struct blk_file *file, const char *path, bool readonly, bool direct,
		  struct error *err);
void blk_file_close(struct blk_file *file); /* idempotent */

/* Reads into or writes from all of IOV, which is used up. 0 or negative errno. */
int blk_file_transfer(const struct blk_file *file, bool write, uint64_t offset,
		      struct iovec *iov, unsigned n);
int blk_file_flush(const struct blk_file *file);
/* Its content is of no more use; nothing happens where the host cannot forget. */
int blk_file_discard(const struct blk_file *file, uint64_t offset, uint64_t len);
/* Reads as zero afterwards; its place may be given up if UNMAP. */
int blk_file_zero(const struct blk_file *file, uint64_t offset, uint64_t len, bool unmap);

#endif
