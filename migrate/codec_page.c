/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/codec_page.h"

#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define HAVE_AVX2 1
#endif

/* A step is what is read between two looks at whether to go on. */
#define STEP 256u

static bool zero_plain(const uint8_t *page)
{
	for (size_t at = 0; at < CODEC_PAGE; at += STEP) {
		uint64_t seen = 0;

		for (size_t i = 0; i < STEP; i += sizeof(uint64_t)) {
			uint64_t v;

			memcpy(&v, page + at + i, sizeof(v));
			seen |= v;
		}
		if (seen)
			return false;
	}
	return true;
}

static bool xor_plain(uint8_t *to, const uint8_t *a, const uint8_t *b)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < CODEC_PAGE; i += sizeof(uint64_t)) {
		uint64_t x, y;

		memcpy(&x, a + i, sizeof(x));
		memcpy(&y, b + i, sizeof(y));
		x ^= y;
		seen |= x;
		memcpy(to + i, &x, sizeof(x));
	}
	return seen == 0;
}

#ifdef HAVE_AVX2
__attribute__((target("avx2"))) static __m256i load(const uint8_t *at)
{
	return _mm256_loadu_si256((const __m256i *)at);
}

__attribute__((target("avx2"))) static __m256i load4(const uint8_t *at)
{
	return _mm256_or_si256(_mm256_or_si256(load(at), load(at + 32)),
			       _mm256_or_si256(load(at + 64), load(at + 96)));
}

__attribute__((target("avx2"))) static bool zero_avx2(const uint8_t *page)
{
	for (size_t at = 0; at < CODEC_PAGE; at += STEP) {
		__m256i seen = _mm256_or_si256(load4(page + at), load4(page + at + STEP / 2));

		if (!_mm256_testz_si256(seen, seen))
			return false;
	}
	return true;
}

__attribute__((target("avx2"))) static bool xor_avx2(uint8_t *to, const uint8_t *a,
						     const uint8_t *b)
{
	__m256i seen = _mm256_setzero_si256();

	for (size_t i = 0; i < CODEC_PAGE; i += 32) {
		__m256i x = _mm256_xor_si256(load(a + i), load(b + i));

		seen = _mm256_or_si256(seen, x);
		_mm256_storeu_si256((__m256i *)(to + i), x);
	}
	return _mm256_testz_si256(seen, seen);
}
#endif

bool codec_is_zero(const void *page)
{
#ifdef HAVE_AVX2
	if (__builtin_cpu_supports("avx2"))
		return zero_avx2(page);
#endif
	return zero_plain(page);
}

bool codec_xor(uint8_t *to, const uint8_t *a, const uint8_t *b)
{
#ifdef HAVE_AVX2
	if (__builtin_cpu_supports("avx2"))
		return xor_avx2(to, a, b);
#endif
	return xor_plain(to, a, b);
}
