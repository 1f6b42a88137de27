/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_VIRTIO_BLK_H
#define VMM_VIRTIO_BLK_H

#include <pthread.h>

#include "vmm/virtio/blk_file.h"
#include "vmm/virtio/virtio.h"

/* What blk.c (the device) and blk_request.c (one request) share. */
#define BLK_DEPTH         VIRTQ_SIZE /* requests under way at most */
#define BLK_RANGES        16u        /* of one discard or write-zeroes request */
#define BLK_RANGE_SECTORS (1u << 22) /* in one range: 2 GiB */
#define BLK_SERIAL        20u

struct blk_request {
	struct virtq_chain chain;
	struct blk *blk;
	uv_work_t work;
	struct blk_request *next;
	bool own;      /* a flush of the device's: no chain to answer */
	uint64_t seen; /* a flush: blk->writes when it began */
	uint32_t type;
	uint64_t offset; /* bytes */
	uint8_t status;
	uint64_t filled; /* bytes of the chain's in part that may have been written */
	unsigned n_iov;
	struct iovec iov[VIRTQ_SEGS];
	unsigned n_ranges;
	struct {
		uint64_t offset, len; /* bytes */
		bool unmap;
	} ranges[BLK_RANGES];
};

struct blk {
	struct virtio v;
	struct blk_file file;
	uint8_t serial[BLK_SERIAL];
	/* Loop thread. */
	struct blk_request *spare;
	uint64_t writes;   /* carried out: anything that changes the image */
	uint64_t flushed;  /* of them, how many a flush has made safe */
	bool flush_failed; /* a flush of our own: the guest must hear of it */
	bool settling;     /* quiet is wanted, and first a flush */
	bool gone;         /* destroyed while callbacks were still due */
	/* Under this lock: requests given to the pool and not yet carried out. */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned working;
};

/*
 * Reads the chain's header and checks it against the disk. True: to be run. False: done or
 * refused, request->status says which.
 */
bool blk_request_parse(struct blk_request *request);
/* Carries it out and sets request->status. Blocks; any thread, machine lock not needed. */
void blk_request_run(struct blk_request *request);

#endif
