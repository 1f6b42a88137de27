/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

/*
 * Pages are copied from a template by one string instruction each: an emulated guest makes
 * two orders of magnitude more memory a second that way than by computing it. The copy
 * starts at another word of the template every time, so no two neighbours are the same.
 */
#define WORDS (GUEST_PAGE / 8)

static uint64_t noise[2 * WORDS];
static uint64_t text[2 * WORDS];

static const char words[16][9] = {
	"migrate ", "memory  ", "of the  ", "guest   ", "page    ", "0x000000", "the     ", "and     ",
	"running ", "while   ", "return 0", "error   ", "status  ", "\n\tnumber", "host    ", "};\n\n   ",
};

static void make_templates(void)
{
	uint64_t state = 0x9e3779b97f4a7c15ull;

	for (unsigned i = 0; i < 2 * WORDS; i++) {
		state ^= state << 13; /* xorshift64 (Marsaglia, 2003) */
		state ^= state >> 7;
		state ^= state << 17;
		noise[i] = state;
		text[i] = *(const uint64_t *)words[state >> 60];
	}
}

static void copy_page(uint64_t to, const uint64_t *from)
{
	uint64_t count = WORDS;

	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

static void zero_pages(uint64_t to, uint64_t pages)
{
	uint64_t count = pages * WORDS;

	__asm__ volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(0ull) : "memory");
}

static void mixed_page(uint64_t to, uint64_t index)
{
	/* Fibonacci hashing: an even spread without a division. */
	uint32_t dice = (uint32_t)index * 2654435769u >> 22; /* 0 to 1023 */
	uint64_t from = index & (WORDS - 1);

	if (dice < 512)
		zero_pages(to, 1);
	else if (dice < 819)
		copy_page(to, text + from);
	else
		copy_page(to, noise + from);
}

enum fill fill_named(void)
{
	if (cmdline_is("fill", "zero"))
		return FILL_ZERO;
	if (cmdline_is("fill", "mixed"))
		return FILL_MIXED;
	if (cmdline_is("fill", "random"))
		return FILL_RANDOM;
	return FILL_NONE;
}

void fill_pages(enum fill fill, uint64_t gpa, uint64_t pages)
{
	if (fill == FILL_NONE)
		return;
	if (fill == FILL_ZERO) {
		zero_pages(gpa, pages);
		return;
	}
	make_templates();
	for (uint64_t i = 0; i < pages; i++, gpa += GUEST_PAGE) {
		if (fill == FILL_MIXED)
			mixed_page(gpa, i);
		else
			copy_page(gpa, noise + (i & (WORDS - 1)));
	}
}
