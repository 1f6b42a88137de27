/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "vmm/virtio/queue.h"

/* Bytes of a chain regardless of how the driver cut it up (virtio 1.2, 2.7.4). */

unsigned chain_slice(const struct virtq_chain *chain, bool in, uint64_t offset, uint64_t len,
		     struct iovec *iov)
{
	unsigned i = in ? chain->n_out : 0;
	unsigned end = in ? chain->n_out + chain->n_in : chain->n_out;
	unsigned n = 0;

	for (; i < end && len; i++) {
		uint64_t have = chain->iov[i].iov_len;

		if (offset >= have) {
			offset -= have;
			continue;
		}
		have -= offset;
		if (have > len)
			have = len;
		iov[n].iov_base = (uint8_t *)chain->iov[i].iov_base + offset;
		iov[n++].iov_len = have;
		len -= have;
		offset = 0;
	}
	return n;
}

/* Copies between BUF and the slice, towards the chain when IN. */
static size_t copy(const struct virtq_chain *chain, bool in, uint64_t offset, uint8_t *buf,
		   size_t len)
{
	struct iovec iov[VIRTQ_SEGS];
	unsigned n = chain_slice(chain, in, offset, len, iov);
	size_t done = 0;

	for (unsigned i = 0; i < n; i++) {
		if (in)
			memcpy(iov[i].iov_base, buf + done, iov[i].iov_len);
		else
			memcpy(buf + done, iov[i].iov_base, iov[i].iov_len);
		done += iov[i].iov_len;
	}
	return done;
}

size_t chain_read(const struct virtq_chain *chain, uint64_t offset, void *to, size_t len)
{
	return copy(chain, false, offset, to, len);
}

size_t chain_write(const struct virtq_chain *chain, uint64_t offset, const void *from,
		   size_t len)
{
	return copy(chain, true, offset, (uint8_t *)(uintptr_t)from, len);
}

void chain_mark(struct ram *ram, const struct virtq_chain *chain, uint64_t offset, uint64_t len)
{
	for (unsigned i = chain->n_out; len && i < chain->n_out + chain->n_in; i++) {
		uint64_t have = chain->iov[i].iov_len;

		if (offset >= have) {
			offset -= have;
			continue;
		}
		have -= offset;
		if (have > len)
			have = len;
		ram_mark(ram, chain->gpa[i] + offset, have);
		len -= have;
		offset = 0;
	}
}
