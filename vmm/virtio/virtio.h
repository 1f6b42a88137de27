/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_VIRTIO_H
#define VMM_VIRTIO_VIRTIO_H

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "virtio.pb-c.h"
#include "vmm/machine.h"
#include "vmm/virtio/queue.h"
#include "vmm/virtio/watch.h"

/*
 * A virtio 1.2 device, in two halves: the device (blk.c, net.c, ...) behind virtio_ops and
 * the transport (pci.c, mmio.c) behind virtio_transport_ops. virtio.c is what they share: status,
 * features, queues, kicks, rest and state.
 *
 * Threads. Everything is called with the machine lock held. Register accesses and thus
 * started and reset come on vCPU threads, where libuv must not be touched; kick, quiesce,
 * resume, save, load, announce, late_* and destroy come on the loop thread.
 */
#define VIRTIO_QUEUES      8u
#define VIRTIO_CONFIG_SIZE 64u

struct virtio;

struct virtio_ops {
	uint32_t id; /* virtio device type */
	/*
	 * Queue INDEX may have work. Only while the driver is ready and the device not quiet,
	 * broken or about to be reset. May be called with nothing to do.
	 */
	void (*kick)(struct virtio *v, unsigned index);
	/* The driver is ready; features are settled. Also after a load. NULL: nothing to do. */
	void (*started)(struct virtio *v);
	/* Nothing is in flight. Forget all that came from the driver. NULL: nothing to do. */
	void (*reset)(struct virtio *v);
	/* The driver wrote LEN bytes of device configuration; all inside. NULL: read-only. */
	void (*config_write)(struct virtio *v, unsigned offset, const uint8_t *data,
			     unsigned len);
	/* Give back chains and stop back ends. NULL: nothing but what virtio_begin() counts. */
	void (*quiesce)(struct virtio *v);
	/* Before all queues are kicked. NULL: nothing to do. */
	void (*resume)(struct virtio *v);
	/* The device's own part of the state, if any; MESSAGE's part may point into the device.
	 */
	void (*save)(struct virtio *v, Segue__Virtio *message);
	int (*load)(struct virtio *v, const Segue__Virtio *message, struct error *err);
	void (*announce)(struct virtio *v, unsigned round);
	/* See struct device_ops. NULL: nothing comes from outside. */
	int (*late_save)(struct virtio *v, struct buffer *late);
	void (*late_load)(struct virtio *v, const uint8_t *late, size_t len);
	/* Last of all: frees the device and the struct virtio in it. */
	void (*destroy)(struct virtio *v);
};

struct virtio_transport_ops {
	/* Interrupts: a queue has used buffers; the configuration or status changed. */
	void (*signal_queue)(struct virtio *v, unsigned index);
	void (*signal_config)(struct virtio *v);
	/* A reset by the driver, and one to power-on state. */
	void (*reset)(struct virtio *v);
	void (*power_on)(struct virtio *v);
	/* STORAGE lives until the message is packed. */
	void (*save)(struct virtio *v, Segue__Virtio *message);
	int (*load)(struct virtio *v, const Segue__Virtio *message, struct error *err);
	void (*destroy)(struct virtio *v);
};

struct virtio_kick {
	struct virtio *v;
	unsigned index;
	int fd; /* eventfd; -1: none */
	struct watch *watch;
};

/* First member of every device; zeroed before virtio_init(). */
struct virtio {
	struct device device;
	struct machine *machine;
	const struct virtio_ops *ops;
	const struct virtio_transport_ops *transport;
	void *transport_data;
	uint64_t offered;  /* feature bits */
	uint64_t features; /* accepted by the driver */
	unsigned n_queues;
	struct virtq queues[VIRTIO_QUEUES];
	struct virtio_kick kicks[VIRTIO_QUEUES];
	uint8_t config[VIRTIO_CONFIG_SIZE]; /* device configuration as the driver reads it */
	unsigned config_len;
	uint8_t generation; /* of config */
	uint8_t status;
	bool quiet;         /* the machine wants no more work done */
	bool resetting;     /* the driver reset, but work is still in flight */
	bool loaded;        /* state came from elsewhere and has not run yet */
	unsigned in_flight; /* virtio_begin() without virtio_end() */
};

/*
 * Building: fill offered, config, n_queues, device.name and device.contract, then
 * virtio_init(), then a transport's add, then machine_add(). After virtio_init(), whatever
 * fails, virtio_destroy() undoes everything.
 */
int virtio_init(struct virtio *v, struct machine *machine, const struct virtio_ops *ops);
/* Transport, then machine; on failure the device has been destroyed. */
int virtio_add(struct virtio *v, struct error *err);
void virtio_destroy(struct virtio *v);

/* For devices. */
bool virtio_live(const struct virtio *v); /* may take work now */
bool virtio_has(const struct virtio *v, unsigned feature);
/* A chain was taken: true. None there, or the ring is broken and the device with it: false. */
bool virtio_pop(struct virtio *v, unsigned index, struct virtq_chain *chain);
void virtio_push(struct virtio *v, unsigned index, const struct virtq_chain *chain,
		 uint64_t written);
/* Interrupts the driver if it wants that for what was pushed. */
void virtio_signal(struct virtio *v, unsigned index);
/* Device configuration was changed; tells the driver. */
void virtio_config_changed(struct virtio *v);
/* Work that outlives the call: quiesce and reset wait for it. end: loop thread. */
void virtio_begin(struct virtio *v);
void virtio_end(struct virtio *v);
/* Has the queue looked at from the loop, soon. Any thread. */
void virtio_poke(struct virtio *v, unsigned index);
/* The driver broke the rules: it must reset the device (2.1.2). */
void virtio_broken(struct virtio *v);

/* For transports. Offsets and lengths are checked here. */
void virtio_set_status(struct virtio *v, uint8_t status);
void virtio_set_features(struct virtio *v, unsigned select, uint32_t bits);
void virtio_enable_queue(struct virtio *v, unsigned index);
/* Not while requests are under way: the driver sees that by reading back. */
void virtio_disable_queue(struct virtio *v, unsigned index);
void virtio_config_read(struct virtio *v, uint64_t offset, uint8_t *data, unsigned len);
void virtio_config_write(struct virtio *v, uint64_t offset, const uint8_t *data, unsigned len);

/* state.c */
int virtio_save(struct device *device, struct buffer *state);
int virtio_load(struct device *device, const uint8_t *state, size_t len, struct error *err);
void virtio_power_on(struct device *device);

/* pci.c and mmio.c: the transports. */
int virtio_pci_add(struct virtio *v);
int virtio_mmio_add(struct virtio *v);

#endif
