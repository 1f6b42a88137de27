/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdint.h>

/*
 * An address space of emulated registers: one for ports, one for memory. Devices claim
 * ranges while the machine is built or, for PCI BARs, while the machine lock is held.
 */
struct bus;

struct bus_ops {
	/* A read of LEN (1, 2, 4 or 8) bytes OFFSET bytes into the range; fills DATA. */
	void (*read)(void *device, uint64_t offset, uint8_t *data, unsigned len);
	void (*write)(void *device, uint64_t offset, const uint8_t *data, unsigned len);
	/* Both run on a vCPU's thread with the machine lock held. */
};

struct bus *bus_new(void);
void bus_free(struct bus *bus);

/* 0, -EEXIST when the range overlaps another, -ENOMEM. */
int bus_add(struct bus *bus, uint64_t base, uint64_t size, const struct bus_ops *ops, void *device);
void bus_remove(struct bus *bus, uint64_t base);

/* An address nobody claims reads as all ones and swallows writes. */
void bus_read(struct bus *bus, uint64_t address, uint8_t *data, unsigned len);
void bus_write(struct bus *bus, uint64_t address, const uint8_t *data, unsigned len);

#endif
