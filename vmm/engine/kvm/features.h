/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_ENGINE_KVM_FEATURES_H
#define VMM_ENGINE_KVM_FEATURES_H

#include <stddef.h>
#include <stdint.h>

/*
 * The CPUID registers whose bits say "this feature is there", and the bits' names.
 */
enum cpuid_register { REG_EAX, REG_EBX, REG_ECX, REG_EDX };

struct feature_word {
	uint32_t function;
	uint32_t index;
	enum cpuid_register reg;
	/*
	 * Bits that need nothing of the host: they mirror a control register, or tell of
	 * topology, or come from KVM's own emulation everywhere.
	 */
	uint32_t free;
	const char *names[32]; /* NULL: reserved or of no interest to a guest of ours */
};

extern const struct feature_word feature_words[];
extern const size_t feature_words_count;

/* The word, or NULL when that register holds no feature bits. */
const struct feature_word *feature_word_find(uint32_t function, uint32_t index, unsigned reg);

/* A list for people under construction: "avx512f, avx512bw". Cut with "..." when full. */
struct feature_list {
	char text[320];
	size_t len;
	unsigned count;
};

/* Adds the names of BITS of the word; a bit without a name as "cpuid 7.0 ebx bit 3". */
void feature_list_add(struct feature_list *list, uint32_t function, uint32_t index, unsigned reg,
		      uint32_t bits);

#endif
