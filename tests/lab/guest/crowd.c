/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many processes in a ring of pipes. Whoever gets a token looks whether its own memory is as it
 * left it, writes it anew and passes the token on, one higher; after a lap a token is higher by
 * the number of processes, or somebody failed.
 *
 *   crowd [--processes N (200)] [--pages P (16), of each] [--tokens T (0)] [--port P (5006)]
 *
 * T tokens go round all the time: with none, everybody sleeps. Commands on the report's port:
 * "lap" sends one round and tells when it is back, "finish" ends everybody in good order.
 */
#include "common.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_WORDS 512
#define MAX_TOKENS 64
#define LAST       UINT64_MAX /* whoever gets it passes it on and ends */

static uint64_t process_count, page_count, token_count;
static int ring_in, ring_out; /* the parent's: from the last process, to the first */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Under the lock. */
static uint64_t laps, errors, ended, on_their_way;
static bool finishing, over;

/* ---- one of them ---- */

static uint64_t word_of(uint64_t id, uint64_t turn, uint64_t at)
{
	return prng_mix((id << 40) ^ (turn << 16) ^ at);
}

static void memory_write(uint64_t *memory, uint64_t id, uint64_t turn)
{
	for (uint64_t i = 0; i < page_count * PAGE_WORDS; i += 8)
		memory[i] = word_of(id, turn, i);
}

static bool memory_right(const uint64_t *memory, uint64_t id, uint64_t turn)
{
	for (uint64_t i = 0; i < page_count * PAGE_WORDS; i += 8)
		if (memory[i] != word_of(id, turn, i))
			return false;
	return true;
}

static void *memory_map(uint64_t pages)
{
	void *memory = mmap(NULL, pages * PAGE_WORDS * 8, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		die("%lu pages", (unsigned long)pages);
	return memory;
}

/* Exits 0 after the last token, 1 if its memory changed, 2 if a neighbour ended before. */
static void member_run(uint64_t id, int from, int to)
{
	uint64_t *memory = memory_map(page_count), token;

	memory_write(memory, id, 0);
	for (uint64_t turn = 0;; turn++) {
		if (read(from, &token, sizeof(token)) != sizeof(token))
			_exit(2);
		if (!memory_right(memory, id, turn)) {
			fprintf(stderr, "crowd: FAILED, memory of process %lu\n",
				(unsigned long)id);
			_exit(1);
		}
		memory_write(memory, id, turn + 1);
		token += token != LAST;
		if (write(to, &token, sizeof(token)) != sizeof(token))
			_exit(2);
		if (token == LAST)
			_exit(0);
	}
}

/* A process a pipe: each keeps no more than the two ends it needs. */
static void crowd_make(void)
{
	int pair[2], from;

	if (pipe(pair))
		die("pipe");
	ring_out = pair[1];
	from = pair[0];
	for (uint64_t id = 0; id < process_count; id++) {
		pid_t pid;

		if (pipe(pair))
			die("pipe");
		pid = fork();
		if (pid < 0)
			die("process %lu", (unsigned long)id);
		if (!pid) {
			close(pair[0]);
			close(ring_out);
			member_run(id, from, pair[1]);
		}
		close(from);
		close(pair[1]);
		from = pair[0];
	}
	ring_in = from;
}

/* ---- their parent ---- */

/* Under the lock, while not over. */
static void token_send(uint64_t token)
{
	if (write(ring_out, &token, sizeof(token)) != sizeof(token))
		die("the first process is gone");
}

/* Under the lock. A token's low half is what the processes count in. */
static void token_begin(void)
{
	static uint64_t number;

	on_their_way++;
	token_send(number++ << 32);
}

/* Under the lock. Who still waits for a token sees the end of its pipe. */
static void everybody_wait(void)
{
	int status;

	close(ring_out);
	while (wait(&status) > 0)
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			ended++;
		else
			errors++;
	over = true;
}

static void token_arrived(uint64_t token)
{
	laps++;
	on_their_way--;
	errors += (uint32_t)token != process_count;
	if (!finishing && on_their_way < token_count)
		token_begin();
	else if (finishing && !on_their_way)
		token_send(LAST);
}

static void *parent_run(void *context)
{
	uint64_t token = 0;

	(void)context;
	while (token != LAST) {
		if (read(ring_in, &token, sizeof(token)) != sizeof(token))
			token = LAST; /* the last process ended before: they all do */
		pthread_mutex_lock(&lock);
		if (token == LAST)
			everybody_wait();
		else
			token_arrived(token);
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

/* Under the lock. */
static void lap(void)
{
	uint64_t before = laps;

	token_begin();
	while (laps == before && !over)
		pthread_cond_wait(&changed, &lock);
}

/* Under the lock. */
static void finish(void)
{
	if (!finishing && !over) {
		finishing = true;
		if (!on_their_way)
			token_send(LAST);
	}
	while (!over)
		pthread_cond_wait(&changed, &lock);
}

static void report(FILE *to, const char *command)
{
	pthread_mutex_lock(&lock);
	if (strcmp(command, "lap") == 0 && !finishing && !over)
		lap();
	else if (strcmp(command, "finish") == 0)
		finish();
	fprintf(to,
		"{\"processes\": %lu, \"laps\": %lu, \"errors\": %lu, \"ended\": %lu, "
		"\"over\": %s}",
		(unsigned long)process_count, (unsigned long)laps, (unsigned long)errors,
		(unsigned long)ended, over ? "true" : "false");
	pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
	pthread_t thread;

	process_count = option_number(argc, argv, "processes", 200);
	page_count = option_number(argc, argv, "pages", 16);
	token_count = option_number(argc, argv, "tokens", 0);
	if (!process_count || !page_count || token_count > MAX_TOKENS)
		die("--processes and --pages: 1 or more; --tokens: up to %d", MAX_TOKENS);
	crowd_make();
	pthread_mutex_lock(&lock);
	for (uint64_t i = 0; i < token_count; i++)
		token_begin();
	pthread_mutex_unlock(&lock);
	if (pthread_create(&thread, NULL, parent_run, NULL))
		die("thread");
	report_serve((uint16_t)option_number(argc, argv, "port", 5006), report);
	for (;;)
		pause();
}
