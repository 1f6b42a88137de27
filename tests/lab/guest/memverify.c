/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewrites memory with content that tells by itself whether it is right, and checks each page
 * before rewriting it: a page that lost a write, or got another's, is found in the next pass.
 *
 *   memverify --mib N [--rate PAGES/S] [--threads N] [--content mixed|random|text|zero|delta]
 *             [--scattered] [--port P (5001)]
 *
 * A page is a function of its index and its generation; generations are kept beside. With
 * --scattered the pages are taken at random.
 */
#include "common.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE_WORDS  512
#define MAX_THREADS 16

enum content { RANDOM, TEXT, DELTA, ZERO, MIXED };

struct worker {
	pthread_t thread;
	size_t first, end; /* pages */
	struct pace pace;
	struct gap gap;
	_Atomic uint64_t passes, pages;
};

static uint64_t (*memory)[PAGE_WORDS];
static uint32_t *generation;
static size_t page_count;
static enum content content;
static bool scattered;
static struct worker workers[MAX_THREADS];
static unsigned int worker_count;
static _Atomic uint64_t errors;

/* The first wrong word, for a person to look at. */
static struct {
	_Atomic bool known;
	uint64_t page, word, expected, found;
	uint32_t generation;
} first_error;

static enum content content_of(size_t page)
{
	return content == MIXED ? (enum content)(page % 4) : content;
}

/* What word I of page PAGE is in generation GEN. */
static uint64_t expected(size_t page, uint32_t gen, unsigned int i, enum content kind)
{
	uint64_t seed = ((uint64_t)page << 32) | gen;

	switch (kind) {
	case RANDOM:
		return prng_mix(seed * PAGE_WORDS + i);
	case TEXT: /* much alike inside, all different from generation to generation */
		return 0x2020202020202020ull + prng_mix(seed + i % 8) % 0x0f0f0f;
	case DELTA: /* eight words change, the rest stays for ever */
		return i % 64 == page % 64 ? prng_mix(seed + i)
					   : prng_mix(((uint64_t)page << 20) + i);
	default: /* zero, but for two words in every other generation */
		return gen % 2 && (i == 0 || i == PAGE_WORDS - 1) ? seed | 1 : 0;
	}
}

static void note_error(size_t page, unsigned int i, uint64_t want)
{
	errors++;
	if (atomic_exchange(&first_error.known, true))
		return;
	first_error.page = page;
	first_error.word = i;
	first_error.expected = want;
	first_error.found = memory[page][i];
	first_error.generation = generation[page];
	fprintf(stderr, "memverify: page %zu word %u: %016lx, not %016lx\n", page, i,
		(unsigned long)memory[page][i], (unsigned long)want);
}

static void page_check(size_t page)
{
	enum content kind = content_of(page);

	for (unsigned int i = 0; i < PAGE_WORDS; i++) {
		uint64_t want = expected(page, generation[page], i, kind);

		if (memory[page][i] != want) {
			note_error(page, i, want);
			return;
		}
	}
}

static void page_write(size_t page)
{
	enum content kind = content_of(page);
	uint32_t gen = ++generation[page];

	for (unsigned int i = 0; i < PAGE_WORDS; i++) {
		uint64_t want = expected(page, gen, i, kind);

		if (memory[page][i] != want)
			memory[page][i] = want;
	}
}

static size_t page_any(const struct worker *worker, uint64_t *state)
{
	return worker->first + prng_next(state) % (worker->end - worker->first);
}

static void *worker_run(void *context)
{
	struct worker *worker = context;
	uint64_t state = worker->first;

	for (;;) {
		for (size_t next = worker->first; next < worker->end; next++) {
			size_t page = scattered ? page_any(worker, &state) : next;

			page_check(page);
			page_write(page);
			worker->pages++;
			pace_wait(&worker->pace, 1);
			gap_event(&worker->gap, clock_ns(CLOCK_MONOTONIC));
		}
		worker->passes++;
	}
	return NULL;
}

static void report(FILE *to, const char *command)
{
	uint64_t pages = 0, passes = UINT64_MAX, gap = 0;

	(void)command;
	for (unsigned int i = 0; i < worker_count; i++) {
		pages += workers[i].pages;
		if (workers[i].passes < passes)
			passes = workers[i].passes;
		if (workers[i].gap.longest > gap)
			gap = workers[i].gap.longest;
	}
	fprintf(to,
		"{\"pages\": %lu, \"passes\": %lu, \"errors\": %lu, \"longest_gap_ms\": %.3f",
		(unsigned long)pages, (unsigned long)passes, (unsigned long)errors,
		(double)gap / 1e6);
	if (first_error.known)
		fprintf(to,
			", \"first_error\": {\"page\": %lu, \"word\": %lu, \"generation\": %u, "
			"\"expected\": \"%016lx\", \"found\": \"%016lx\"}",
			(unsigned long)first_error.page, (unsigned long)first_error.word,
			first_error.generation, (unsigned long)first_error.expected,
			(unsigned long)first_error.found);
	fprintf(to, "}");
}

static enum content content_parse(const char *name)
{
	static const char *const names[] = {"random", "text", "delta", "zero", "mixed"};

	for (unsigned int i = 0; i < 5; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum content)i;
	die("--content %s: no such content", name);
}

static void memory_make(size_t bytes)
{
	page_count = bytes / sizeof(*memory);
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	generation = calloc(page_count, sizeof(*generation));
	if (memory == MAP_FAILED || !generation)
		die("%zu bytes", bytes);
	for (size_t page = 0; page < page_count; page++)
		page_write(page);
}

int main(int argc, char **argv)
{
	uint64_t rate = option_number(argc, argv, "rate", 0);

	scattered = option_flag(argc, argv, "scattered");
	content = content_parse(option(argc, argv, "content", "mixed"));
	worker_count = (unsigned int)option_number(argc, argv, "threads", 1);
	if (worker_count < 1 || worker_count > MAX_THREADS)
		die("--threads: 1 to %d", MAX_THREADS);
	memory_make(option_number(argc, argv, "mib", 64) << 20);
	for (unsigned int i = 0; i < worker_count; i++) {
		struct worker *worker = &workers[i];

		worker->first = page_count * i / worker_count;
		worker->end = page_count * (i + 1) / worker_count;
		worker->pace.per_second = rate ? rate / worker_count + 1 : 0;
		if (pthread_create(&worker->thread, NULL, worker_run, worker))
			die("thread");
	}
	report_serve((uint16_t)option_number(argc, argv, "port", 5001), report);
	pause();
	return 0;
}
