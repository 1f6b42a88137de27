/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Without this TUNSETIFF would make an interface that nobody has put on a bridge. */
static int tap_exists(const char *name, struct error *err)
{
	if (!name || !*name || strlen(name) >= IFNAMSIZ || strchr(name, '/'))
		return error_set(err, -EINVAL, "\"%s\" cannot be a tap interface",
				 name ? name : "");
	/* Not by /sys: mounted elsewhere, it shows another network namespace's interfaces. */
	if (!if_nametoindex(name))
		return error_set(err, -ENODEV, "there is no interface %s on this host", name);
	return 0;
}

static int tap_attach(int fd, const char *name, struct error *err)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int size = sizeof(struct virtio_net_hdr_mrg_rxbuf), little = 1;

	memcpy(request.ifr_name, name, strlen(name));
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		int error = -errno;

		if (error == -EPERM)
			return error_set(err, error,
					 "tap %s belongs to another user: set its owner "
					 "(ip tuntap add %s mode tap user NAME)",
					 name, name);
		if (error == -EINVAL)
			return error_set(err, -ENODEV, "interface %s is not a tap", name);
		return error_system(err, error, "cannot use tap %s%s", name,
				    error == -EBUSY ? " (something else does)" : "");
	}
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(fd, TUNSETVNETLE, &little) < 0)
		return error_system(err, -errno, "tap %s cannot carry virtio headers", name);
	return 0;
}

int tap_open(const char *name, struct error *err)
{
	int r = tap_exists(name, err), fd;

	if (r < 0)
		return r;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return error_system(err, -errno, "cannot open /dev/net/tun");
	r = tap_attach(fd, name, err);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

void tap_offload(int fd, bool checksum, bool tso4, bool tso6, bool ecn)
{
	unsigned long bits = 0;

	/* Segments are only given away together with their checksums (5.1.3.1). */
	if (checksum) {
		bits |= TUN_F_CSUM;
		bits |= tso4 ? TUN_F_TSO4 : 0;
		bits |= tso6 ? TUN_F_TSO6 : 0;
		bits |= ecn && (tso4 || tso6) ? TUN_F_TSO_ECN : 0;
	}
	/* Not a tap (a test's socket): there is nothing to switch. */
	(void)ioctl(fd, TUNSETOFFLOAD, bits);
}
