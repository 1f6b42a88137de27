// SPDX-License-Identifier: Apache-2.0
/* Loops that no kernel has a part in. */
#include "pv_micro.h"

#include <stddef.h>

static uint64_t integer(uint64_t n)
{
	uint64_t begin = micro_now(), x = 1;

	while (n--) {
		x ^= x << 13;
		x ^= x >> 7;
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		__asm__ volatile("" : "+r"(x));
	}
	return micro_now() - begin;
}

static uint64_t floating(uint64_t n)
{
	uint64_t begin = micro_now();
	double a = 1, b = 2;

	while (n--) {
		a = a * 0.999 + b;
		b = b / 1.001 + 1 / a;
		__asm__ volatile("" : "+x"(a), "+x"(b));
	}
	return micro_now() - begin;
}

const struct micro micro_cpu[] = {
    {"cpu-integer", PER_OP_NS, 0, NULL, integer, NULL},
    {"cpu-float", PER_OP_NS, 0, NULL, floating, NULL},
    {0},
};
