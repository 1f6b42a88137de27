/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "vmm/virtio/devices.h"
#include "vmm/virtio/virtio.h"

/* Entropy (virtio 1.2, 5.4). A driver asks again when it wants more than this at once. */
#define RNG_MAX  4096u
#define RNG_TURN 64u /* chains before others get their turn on the loop */

struct rng {
	struct virtio v;
	struct virtq_chain chain;
};

static uint64_t fill(const struct virtq_chain *chain)
{
	uint8_t random[RNG_MAX];
	size_t want = chain->in_len < RNG_MAX ? (size_t)chain->in_len : RNG_MAX;
	ssize_t n = getrandom(random, want, 0);

	return n > 0 ? chain_write(chain, 0, random, (size_t)n) : 0;
}

static void rng_kick(struct virtio *v, unsigned index)
{
	struct rng *rng = (struct rng *)v;
	unsigned n = 0;

	for (; n < RNG_TURN && virtio_pop(v, index, &rng->chain); n++)
		virtio_push(v, index, &rng->chain, fill(&rng->chain));
	virtio_signal(v, index);
	if (n == RNG_TURN)
		virtio_poke(v, index);
}

static void rng_destroy(struct virtio *v)
{
	free(v);
}

static const struct virtio_ops rng_ops = {
    .id = VIRTIO_ID_RNG,
    .kick = rng_kick,
    .destroy = rng_destroy,
};

int virtio_rng_add(struct machine *machine, struct error *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	int r;

	if (!rng)
		return error_set(err, -ENOMEM, "no memory for the entropy device");
	snprintf(rng->v.device.name, sizeof(rng->v.device.name), "rng0");
	snprintf(rng->v.device.contract, sizeof(rng->v.device.contract), "virtio-rng");
	rng->v.n_queues = 1;
	r = virtio_init(&rng->v, machine, &rng_ops);
	if (r < 0) {
		virtio_destroy(&rng->v);
		return error_system(err, r, "cannot make the entropy device");
	}
	return virtio_add(&rng->v, err);
}
