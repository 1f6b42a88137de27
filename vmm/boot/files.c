/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/boot/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int file_open(const char *what, const char *path, int *ret_fd, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return error_system(err, -errno, "%s %s", what, path);
	if (boot_file_size(fd) < 0) {
		close(fd);
		return error_set(err, -EINVAL, "%s %s: not a regular file", what, path);
	}
	*ret_fd = fd;
	return 0;
}

int boot_files_open(struct boot_files *files, const char *kernel, const char *initrd,
		    const char *cmdline, struct error *err)
{
	int r;

	*files = BOOT_FILES_NONE;
	r = file_open("kernel", kernel, &files->kernel, err);
	if (r == 0 && initrd && *initrd)
		r = file_open("initrd", initrd, &files->initrd, err);
	if (r == 0) {
		files->kernel_path = strdup(kernel);
		files->initrd_path = strdup(initrd ? initrd : "");
		files->cmdline = strdup(cmdline ? cmdline : "");
		if (!files->kernel_path || !files->initrd_path || !files->cmdline)
			r = error_set(err, -ENOMEM, "no memory for the kernel's name");
	}
	if (r < 0)
		boot_files_close(files);
	return r;
}

void boot_files_close(struct boot_files *files)
{
	if (files->kernel >= 0)
		close(files->kernel);
	if (files->initrd >= 0)
		close(files->initrd);
	free(files->kernel_path);
	free(files->initrd_path);
	free(files->cmdline);
	*files = BOOT_FILES_NONE;
}

int64_t boot_file_size(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? st.st_size : -EINVAL;
}

int boot_file_read(int fd, uint64_t offset, void *to, uint64_t len)
{
	uint8_t *at = to;

	while (len) {
		ssize_t n = pread(fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		at += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}
