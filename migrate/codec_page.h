/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_CODEC_PAGE_H
#define MIGRATE_CODEC_PAGE_H

#include <stdbool.h>
#include <stdint.h>

/* What is done to every byte of a page; AVX2 where the processor has it. Any thread. */
#define CODEC_PAGE 4096u

/* Whether all bytes are zero; reads no further than the first that are not. */
bool codec_is_zero(const void *page);

/*
 * TO = A ^ B, a page each; TO may be A. Returns whether the result is all zero, that is,
 * A and B are the same.
 */
bool codec_xor(uint8_t *to, const uint8_t *a, const uint8_t *b);

#endif
