/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/virtio_blk.h>

#include "proto/le.h"
#include "vmm/virtio/blk.h"

/* A block request (virtio 1.2, 5.2.6): header, data, and one byte of status at the end. */
#define HEADER     16u
#define RANGE_SIZE 16u

static bool refuse(struct blk_request *request, uint8_t status)
{
	request->status = status;
	return false;
}

static bool inside(const struct blk *blk, uint64_t sector, uint64_t len)
{
	uint64_t sectors = blk->file.size / BLK_SECTOR;

	return sector <= sectors && len <= (sectors - sector) * BLK_SECTOR;
}

static bool parse_data(struct blk_request *request, uint64_t sector, bool write)
{
	const struct virtq_chain *chain = &request->chain;
	const struct blk *blk = request->blk;
	uint64_t len = write ? chain->out_len - HEADER : chain->in_len - 1;

	if (write && blk->file.readonly)
		return refuse(request, VIRTIO_BLK_S_IOERR);
	/* Whole blocks only: the driver knows blk_size, and direct access can do no less. */
	if (len % BLK_SECTOR || !inside(blk, sector, len) ||
	    (blk->file.direct &&
	     (len % blk->file.block || sector * BLK_SECTOR % blk->file.block)))
		return refuse(request, VIRTIO_BLK_S_IOERR);
	request->offset = sector * BLK_SECTOR;
	request->filled = write ? 0 : len;
	request->n_iov = chain_slice(chain, !write, write ? HEADER : 0, len, request->iov);
	if (len == 0)
		return refuse(request, VIRTIO_BLK_S_OK);
	return true;
}

static bool parse_range(struct blk_request *request, unsigned i)
{
	uint8_t range[RANGE_SIZE];
	uint64_t sector;
	uint32_t sectors, flags;

	chain_read(&request->chain, HEADER + i * RANGE_SIZE, range, sizeof(range));
	sector = le64_get(range);
	sectors = le32_get(range + 8);
	flags = le32_get(range + 12);
	/* Unmap is the only flag there is, and means nothing to a discard (5.2.6.2). */
	if ((flags & ~(uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) ||
	    (flags && request->type == VIRTIO_BLK_T_DISCARD))
		return refuse(request, VIRTIO_BLK_S_UNSUPP);
	if (sectors > BLK_RANGE_SECTORS ||
	    !inside(request->blk, sector, (uint64_t)sectors * BLK_SECTOR))
		return refuse(request, VIRTIO_BLK_S_IOERR);
	request->ranges[i].offset = sector * BLK_SECTOR;
	request->ranges[i].len = (uint64_t)sectors * BLK_SECTOR;
	request->ranges[i].unmap = flags;
	return true;
}

static bool parse_ranges(struct blk_request *request)
{
	uint64_t len = request->chain.out_len - HEADER;

	if (request->blk->file.readonly)
		return refuse(request, VIRTIO_BLK_S_IOERR);
	if (len == 0 || len % RANGE_SIZE || len / RANGE_SIZE > BLK_RANGES)
		return refuse(request, VIRTIO_BLK_S_IOERR);
	request->n_ranges = (unsigned)(len / RANGE_SIZE);
	for (unsigned i = 0; i < request->n_ranges; i++)
		if (!parse_range(request, i))
			return false;
	return true;
}

static bool answer_serial(struct blk_request *request)
{
	if (request->chain.in_len - 1 < BLK_SERIAL)
		return refuse(request, VIRTIO_BLK_S_IOERR);
	chain_write(&request->chain, 0, request->blk->serial, BLK_SERIAL);
	request->filled = BLK_SERIAL;
	return refuse(request, VIRTIO_BLK_S_OK);
}

bool blk_request_parse(struct blk_request *request)
{
	uint8_t header[HEADER];
	uint64_t sector;

	request->n_iov = request->n_ranges = 0;
	request->filled = 0;
	if (chain_read(&request->chain, 0, header, sizeof(header)) < HEADER ||
	    request->chain.in_len < 1)
		return refuse(request, VIRTIO_BLK_S_IOERR);
	request->type = le32_get(header);
	sector = le64_get(header + 8);
	switch (request->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		return parse_data(request, sector, request->type == VIRTIO_BLK_T_OUT);
	case VIRTIO_BLK_T_FLUSH:
		return true;
	case VIRTIO_BLK_T_GET_ID:
		return answer_serial(request);
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return parse_ranges(request);
	default:
		return refuse(request, VIRTIO_BLK_S_UNSUPP);
	}
}

static int run_ranges(struct blk_request *request)
{
	const struct blk_file *file = &request->blk->file;
	int r = 0;

	for (unsigned i = 0; i < request->n_ranges && r == 0; i++) {
		uint64_t offset = request->ranges[i].offset, len = request->ranges[i].len;

		if (len == 0)
			continue;
		if (request->type == VIRTIO_BLK_T_DISCARD)
			r = blk_file_discard(file, offset, len);
		else
			r = blk_file_zero(file, offset, len, request->ranges[i].unmap);
	}
	return r;
}

static int run(struct blk_request *request)
{
	const struct blk_file *file = &request->blk->file;

	switch (request->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		return blk_file_transfer(file, request->type == VIRTIO_BLK_T_OUT,
					 request->offset, request->iov, request->n_iov);
	case VIRTIO_BLK_T_FLUSH:
		return blk_file_flush(file);
	default:
		return run_ranges(request);
	}
}

void blk_request_run(struct blk_request *request)
{
	request->status = run(request) == 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
}
