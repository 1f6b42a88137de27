/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox_internal.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

/*
 * Landlock and capabilities belong to threads, not to processes. Those of a thread that
 * already runs can only be given up by the thread itself, so each is sent a signal whose
 * handler does it, as libc does for setuid().
 */
#define WAIT_MS     2000
#define THREADS_MAX 256u

static struct {
	int (*function)(const void *context);
	const void *context;
	atomic_int answer; /* PENDING until the signalled thread has run the function */
} round_;

#define PENDING 1

static void on_signal(int number)
{
	int saved = errno;

	(void)number;
	atomic_store(&round_.answer, round_.function(round_.context));
	errno = saved;
}

static int wait_answer(void)
{
	const struct timespec ms = {.tv_nsec = 1000000};

	for (unsigned i = 0; i < WAIT_MS; i++) {
		int r = atomic_load(&round_.answer);

		if (r != PENDING)
			return r;
		nanosleep(&ms, NULL);
	}
	return -ETIMEDOUT;
}

static int bind_thread(pid_t tid)
{
	int r;

	atomic_store(&round_.answer, PENDING);
	if (syscall(SYS_tgkill, getpid(), tid, SIGRTMAX - 1) < 0)
		return errno == ESRCH ? 0 : -errno;
	r = wait_answer();
	/* It may have ended instead of answering. */
	if (r == -ETIMEDOUT && syscall(SYS_tgkill, getpid(), tid, 0) < 0 && errno == ESRCH)
		return 0;
	return r;
}

static bool seen(const pid_t *done, unsigned n, pid_t tid)
{
	for (unsigned i = 0; i < n; i++)
		if (done[i] == tid)
			return true;
	return false;
}

/* One pass over the threads not in DONE; how many were bound, or a negative errno. */
static int pass(pid_t *done, unsigned *n)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int bound = 0, r;
	pid_t tid;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		tid = atoi(entry->d_name);
		if (!tid || seen(done, *n, tid))
			continue;
		r = *n == THREADS_MAX ? -E2BIG : bind_thread(tid);
		if (r < 0) {
			closedir(dir);
			return r;
		}
		done[(*n)++] = tid;
		bound++;
	}
	closedir(dir);
	return bound;
}

int sandbox_on_threads(int (*function)(const void *context), const void *context,
		       struct error *err)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART}, was;
	pid_t done[THREADS_MAX] = {gettid()};
	unsigned n = 1;
	int r = function(context);

	if (r < 0)
		return error_system(err, r, "sandbox: cannot bind the main thread");
	round_.function = function;
	round_.context = context;
	sigaction(SIGRTMAX - 1, &action, &was);
	do /* until a pass finds none: an unbound thread may have made more */
		r = pass(done, &n);
	while (r > 0);
	sigaction(SIGRTMAX - 1, &was, NULL);
	return r < 0 ? error_system(err, r, "sandbox: cannot bind a thread") : 0;
}
