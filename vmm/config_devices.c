/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config_devices.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/le.h"
#include "vmm/config.h"

#define MAC_LEN 6u

int config_copy(char **field, const char *text, struct error *err)
{
	char *copy = strdup(text);

	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	*field = copy;
	return 0;
}

int config_copy_path(char **field, const char *dir, const char *path, struct error *err)
{
	char *copy;

	if (path[0] == '/' || !*dir)
		return config_copy(field, path, err);
	if (asprintf(&copy, "%s/%s", dir, path) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	*field = copy;
	return 0;
}

static int check_disk(const struct config_disk *from, unsigned i,
		      const struct config_where *where, const char *dir, Segue__Disk *disk,
		      struct error *err)
{
	char key[32];
	int r;

	snprintf(key, sizeof(key), "disks[%u].path", i);
	if (!from->path || !*from->path)
		return config_where_error(where, err, key, "missing; the path of a raw image");
	r = config_copy_path(&disk->path, dir, from->path, err);
	if (r < 0)
		return r;
	disk->readonly = from->readonly == CONFIG_TRUE;
	disk->direct = from->direct == CONFIG_TRUE;
	if (!from->serial)
		return 0;
	snprintf(key, sizeof(key), "disks[%u].serial", i);
	if (strlen(from->serial) > CONFIG_SERIAL_MAX)
		return config_where_error(where, err, key, "longer than %u bytes",
					  CONFIG_SERIAL_MAX);
	for (const char *c = from->serial; *c; c++)
		if (*c <= ' ' || *c > '~')
			return config_where_error(
			    where, err, key, "may hold printable ASCII without spaces only");
	return config_copy(&disk->serial, from->serial, err);
}

/* Two devices on one image are safe only while neither writes. */
static int check_disk_twice(const Segue__Guest *guest, unsigned i,
			    const struct config_where *where, struct error *err)
{
	const Segue__Disk *disk = guest->disks[i];
	char key[32];

	for (unsigned j = 0; j < i; j++) {
		const Segue__Disk *other = guest->disks[j];

		snprintf(key, sizeof(key), "disks[%u].path", i);
		if (!strcmp(disk->path, other->path) && !(disk->readonly && other->readonly))
			return config_where_error(where, err, key,
						  "the same image as disks[%u], and not both "
						  "readonly",
						  j);
		snprintf(key, sizeof(key), "disks[%u].serial", i);
		if (*disk->serial && !strcmp(disk->serial, other->serial))
			return config_where_error(where, err, key, "the same as of disks[%u]",
						  j);
	}
	return 0;
}

int config_check_disks(const struct config_file *file, const struct config_where *where,
		       const char *dir, Segue__Guest *guest, struct error *err)
{
	int r = 0;

	if (!file->n_disks)
		return 0;
	if (file->n_disks > CONFIG_DISKS_MAX)
		return config_where_error(where, err, "disks", "%u of them; at most %u",
					  file->n_disks, CONFIG_DISKS_MAX);
	guest->disks = calloc(file->n_disks, sizeof(*guest->disks));
	if (!guest->disks)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; !r && i < file->n_disks; i++) {
		Segue__Disk *disk = malloc(sizeof(*disk));

		if (!disk)
			return error_set(err, -ENOMEM, "out of memory");
		segue__disk__init(disk);
		guest->disks[guest->n_disks++] = disk;
		r = check_disk(&file->disks[i], i, where, dir, disk, err);
		if (!r)
			r = check_disk_twice(guest, i, where, err);
	}
	return r;
}

/* IEEE 802: bit 0 of the first byte says group, bit 1 locally administered. */
static int parse_mac(const char *text, uint8_t mac[MAC_LEN])
{
	unsigned b[MAC_LEN];
	int end = 0;

	if (strlen(text) != 17 || strspn(text, "0123456789abcdefABCDEF:") != 17)
		return -EINVAL;
	if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
		   &end) != 6 ||
	    end != 17)
		return -EINVAL;
	for (unsigned i = 0; i < MAC_LEN; i++)
		mac[i] = (uint8_t)b[i];
	return 0;
}

/* The same guest gets the same address on every host, or a move would change it. */
static void derive_mac(const char *name, unsigned index, uint8_t mac[MAC_LEN])
{
	uint8_t hash[8];

	le64_put(hash, XXH3_64bits_withSeed(name, strlen(name), index));
	mac[0] = 0x02;
	memcpy(mac + 1, hash, MAC_LEN - 1);
}

static int check_mac(const char *text, unsigned i, const struct config_where *where,
		     Segue__Guest *guest, struct error *err)
{
	static const uint8_t zero[MAC_LEN];
	Segue__Net *net = guest->nets[i];
	char key[32];

	net->mac.data = malloc(MAC_LEN);
	if (!net->mac.data)
		return error_set(err, -ENOMEM, "out of memory");
	net->mac.len = MAC_LEN;
	snprintf(key, sizeof(key), "nets[%u].mac", i);
	if (!text)
		derive_mac(guest->name, i, net->mac.data);
	else if (parse_mac(text, net->mac.data) < 0)
		return config_where_error(where, err, key,
					  "\"%.40s\" is not like 02:00:5e:10:00:01", text);
	if ((net->mac.data[0] & 1) || !memcmp(net->mac.data, zero, MAC_LEN))
		return config_where_error(where, err, key, "\"%s\" is not one card's address",
					  text ? text : "");
	for (unsigned j = 0; j < i; j++)
		if (!memcmp(net->mac.data, guest->nets[j]->mac.data, MAC_LEN))
			return config_where_error(where, err, key, "the same as of nets[%u]",
						  j);
	return 0;
}

static int check_tap(const char *tap, unsigned i, const struct config_where *where,
		     Segue__Guest *guest, struct error *err)
{
	char key[32];

	snprintf(key, sizeof(key), "nets[%u].tap", i);
	if (!tap || !*tap)
		return config_where_error(where, err, key,
					  "missing; the name of a tap interface of this host");
	if (strlen(tap) >= IFNAMSIZ || strpbrk(tap, "/ \t\n:%") || !strcmp(tap, ".") ||
	    !strcmp(tap, ".."))
		return config_where_error(where, err, key, "\"%.40s\" cannot be an interface",
					  tap);
	for (unsigned j = 0; j < i; j++)
		if (!strcmp(tap, guest->nets[j]->tap))
			return config_where_error(where, err, key, "the same as of nets[%u]",
						  j);
	return config_copy(&guest->nets[i]->tap, tap, err);
}

int config_check_nets(const struct config_file *file, const struct config_where *where,
		      Segue__Guest *guest, struct error *err)
{
	int r = 0;

	if (!file->n_nets)
		return 0;
	if (file->n_nets > CONFIG_NETS_MAX)
		return config_where_error(where, err, "nets", "%u of them; at most %u",
					  file->n_nets, CONFIG_NETS_MAX);
	guest->nets = calloc(file->n_nets, sizeof(*guest->nets));
	if (!guest->nets)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; !r && i < file->n_nets; i++) {
		Segue__Net *net = malloc(sizeof(*net));

		if (!net)
			return error_set(err, -ENOMEM, "out of memory");
		segue__net__init(net);
		guest->nets[guest->n_nets++] = net;
		r = check_tap(file->nets[i].tap, i, where, guest, err);
		if (!r)
			r = check_mac(file->nets[i].mac, i, where, guest, err);
	}
	return r;
}
