/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/blk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOUNCE (1u << 20) /* bytes moved at once through memory of our own */
#define ALIGN  4096u      /* what every host is content with */

static int open_mode(const char *path, int flags, bool *direct)
{
	int fd;

	if (*direct) {
		fd = open(path, flags | O_DIRECT);
		if (fd >= 0 || errno != EINVAL)
			return fd;
		*direct = false;
	}
	return open(path, flags);
}

static int measure(struct blk_file *file)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return -errno;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(file->fd, BLKGETSIZE64, &file->size) < 0)
			return -errno;
	} else if (S_ISREG(st.st_mode)) {
		file->size = (uint64_t)st.st_size;
	} else {
		return -EINVAL;
	}
	file->size &= ~(uint64_t)(BLK_SECTOR - 1);
	return 0;
}

/* Whether a read of one sector at an odd sector into memory at AT is taken. */
static bool direct_takes(int fd, uint8_t *at)
{
	return pread(fd, at, BLK_SECTOR, BLK_SECTOR) >= 0 || errno != EINVAL;
}

/*
 * What direct access asks for is found out by trying: an image that has always had sectors
 * of 512 bytes must keep them wherever the host can do that.
 */
static int measure_direct(struct blk_file *file)
{
	uint8_t *memory = aligned_alloc(ALIGN, 2ul * ALIGN);

	if (!memory)
		return -ENOMEM;
	file->block = direct_takes(file->fd, memory) ? BLK_SECTOR : ALIGN;
	file->memory = file->block == BLK_SECTOR && direct_takes(file->fd, memory + BLK_SECTOR)
			   ? BLK_SECTOR
			   : ALIGN;
	free(memory);
	return 0;
}

int blk_file_open(struct blk_file *file, const char *path, bool readonly, bool direct,
		  struct error *err)
{
	int flags = (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY;
	int r;

	*file = (struct blk_file){.readonly = readonly, .direct = direct, .block = BLK_SECTOR};
	file->memory = 1;
	file->fd = open_mode(path, flags, &file->direct);
	if (file->fd < 0)
		return error_system(err, -errno, "cannot open disk %s", path);
	r = measure(file);
	if (r == 0 && file->direct)
		r = measure_direct(file);
	/*
	 * What this host still remembers of an image on shared storage, from when the guest
	 * last was here, may have been overtaken since.
	 */
	if (r == 0 && !file->direct)
		(void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
	if (r < 0) {
		blk_file_close(file);
		return error_system(err, r, "%s cannot be a disk", path);
	}
	return 0;
}

void blk_file_close(struct blk_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

/* Takes N bytes off the front; returns how many entries are used up. */
static unsigned iov_advance(struct iovec *iov, unsigned count, size_t n)
{
	unsigned used = 0;

	while (used < count && n >= iov[used].iov_len)
		n -= iov[used++].iov_len;
	if (used < count) {
		iov[used].iov_base = (uint8_t *)iov[used].iov_base + n;
		iov[used].iov_len -= n;
	}
	return used;
}

static int transfer(int fd, bool write, uint64_t offset, struct iovec *iov, unsigned n)
{
	unsigned used = iov_advance(iov, n, 0); /* empty ones in front */

	while (used < n) {
		ssize_t done = write ? pwritev(fd, iov + used, (int)(n - used), (off_t)offset)
				     : preadv(fd, iov + used, (int)(n - used), (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		if (done == 0)
			return -EIO; /* someone has made the file shorter */
		offset += (uint64_t)done;
		used += iov_advance(iov + used, n - used, (size_t)done);
	}
	return 0;
}

static bool aligned(const struct blk_file *file, const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (((uintptr_t)iov[i].iov_base & (file->memory - 1)) ||
		    (iov[i].iov_len & (file->block - 1)))
			return false;
	return true;
}

/* Moves LEN bytes between BUF and the front of IOV, which is used up. */
static unsigned iov_copy(struct iovec *iov, unsigned n, uint8_t *buf, size_t len, bool from_iov)
{
	unsigned used = 0;

	while (used < n && len) {
		size_t part = iov[used].iov_len < len ? iov[used].iov_len : len;

		if (from_iov)
			memcpy(buf, iov[used].iov_base, part);
		else
			memcpy(iov[used].iov_base, buf, part);
		buf += part;
		len -= part;
		used += iov_advance(iov + used, 1, part);
	}
	return used;
}

/* Through memory of our own, where the guest's is not aligned for direct access. */
static int transfer_bounced(const struct blk_file *file, bool write, uint64_t offset,
			    struct iovec *iov, unsigned n)
{
	uint8_t *bounce = aligned_alloc(ALIGN, BOUNCE);
	uint64_t left = 0;
	int r = bounce ? 0 : -ENOMEM;

	for (unsigned i = 0; i < n; i++)
		left += iov[i].iov_len;
	while (r == 0 && left) {
		size_t len = left < BOUNCE ? (size_t)left : BOUNCE;
		struct iovec part = {.iov_base = bounce, .iov_len = len};
		unsigned used = 0;

		if (write)
			used = iov_copy(iov, n, bounce, len, true);
		r = transfer(file->fd, write, offset, &part, 1);
		if (r == 0 && !write)
			used = iov_copy(iov, n, bounce, len, false);
		iov += used;
		n -= used;
		offset += len;
		left -= len;
	}
	free(bounce);
	return r;
}

int blk_file_transfer(const struct blk_file *file, bool write, uint64_t offset,
		      struct iovec *iov, unsigned n)
{
	if (file->direct && !aligned(file, iov, n))
		return transfer_bounced(file, write, offset, iov, n);
	return transfer(file->fd, write, offset, iov, n);
}

int blk_file_flush(const struct blk_file *file)
{
	return fdatasync(file->fd) < 0 ? -errno : 0;
}

static bool cannot(int error)
{
	return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == ENODEV;
}

int blk_file_discard(const struct blk_file *file, uint64_t offset, uint64_t len)
{
	if (fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
		      (off_t)len) == 0 ||
	    cannot(errno))
		return 0;
	return -errno;
}

static int write_zeros(const struct blk_file *file, uint64_t offset, uint64_t len)
{
	void *zeros = aligned_alloc(ALIGN, BOUNCE);
	int r = zeros ? 0 : -ENOMEM;

	if (zeros)
		memset(zeros, 0, BOUNCE);
	while (r == 0 && len) {
		size_t part = len < BOUNCE ? (size_t)len : BOUNCE;
		struct iovec iov = {.iov_base = zeros, .iov_len = part};

		r = transfer(file->fd, true, offset, &iov, 1);
		offset += part;
		len -= part;
	}
	free(zeros);
	return r;
}

int blk_file_zero(const struct blk_file *file, uint64_t offset, uint64_t len, bool unmap)
{
	int mode = unmap ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE;

	if (fallocate(file->fd, mode, (off_t)offset, (off_t)len) == 0)
		return 0;
	return cannot(errno) ? write_zeros(file, offset, len) : -errno;
}
