/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CODEC_SPARSE_H
#define MIGRATE_CODEC_SPARSE_H

#include <stdint.h>

/*
 * Packs a page that is mostly zeros, as the difference of two versions of a page is, into
 * an LZ4 block like any other. It looks for nothing but runs of zeros, which is several
 * times quicker than LZ4's own search. Returns the block's length, or 0 when it would be
 * longer than ROOM bytes. Any thread.
 */
uint32_t codec_sparse(const uint8_t *page, uint8_t *to, uint32_t room);

#endif
