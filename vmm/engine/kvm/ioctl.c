/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/ioctl.h>

#include "vmm/engine/kvm/kvm.h"

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r;

	do {
		r = ioctl(fd, request, arg);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int kvm_ioctl_value(int fd, unsigned long request, unsigned long value)
{
	int r;

	do {
		r = ioctl(fd, request, value);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}
