/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_LE_H
#define PROTO_LE_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Little-endian fields at any alignment: what wires, files and guest RAM are made of. */
#define LE_ACCESSORS(bits)                                                                     \
	static inline uint##bits##_t le##bits##_get(const void *at)                            \
	{                                                                                      \
		uint##bits##_t v;                                                              \
		memcpy(&v, at, sizeof(v));                                                     \
		return le##bits##toh(v);                                                       \
	}                                                                                      \
	static inline void le##bits##_put(void *at, uint##bits##_t value)                      \
	{                                                                                      \
		uint##bits##_t v = htole##bits(value);                                         \
		memcpy(at, &v, sizeof(v));                                                     \
	}

LE_ACCESSORS(16)
LE_ACCESSORS(32)
LE_ACCESSORS(64)

#endif
