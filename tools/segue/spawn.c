/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/paths.h"

#define MONITOR  "segue-vmm"
#define ARGS_MAX 16u
#define LOG_TAIL 420u /* bytes of a failed start's last words; an error holds no more */

/* Where the monitor is by where segue is: installed, and in the tree it was built in. */
static const char *const beside[] = {MONITOR, "../../vmm/" MONITOR};

static bool find_beside(const char *self, char *path, size_t size)
{
	for (unsigned i = 0; i < sizeof(beside) / sizeof(beside[0]); i++)
		if (snprintf(path, size, "%s/%s", self, beside[i]) < (int)size &&
		    !access(path, X_OK))
			return true;
	return false;
}

/* $SEGUE_VMM, else by where segue is, else where PATH has it: a word for execvp(). */
static void find_monitor(char *path, size_t size)
{
	const char *env = getenv("SEGUE_VMM");
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (env && *env) {
		snprintf(path, size, "%s", env);
		return;
	}
	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash) {
		*slash = '\0';
		if (find_beside(self, path, size))
			return;
	}
	snprintf(path, size, "%s", MONITOR);
}

struct args {
	char *words[ARGS_MAX];
	char monitor[PATH_MAX];
	char ready[16];
};

static void make_args(const struct spawn_options *o, int ready_fd, struct args *args)
{
	unsigned n = 0;

	find_monitor(args->monitor, sizeof(args->monitor));
	args->words[n++] = (char *)MONITOR;
	args->words[n++] = (char *)"--state-dir";
	args->words[n++] = (char *)o->state_dir;
	if (o->rename) {
		args->words[n++] = (char *)"--name";
		args->words[n++] = (char *)o->name;
	}
	if (o->receive) {
		args->words[n++] = (char *)"--receive";
		args->words[n++] = (char *)o->receive;
	}
	if (o->force)
		args->words[n++] = (char *)"--force";
	if (o->paused)
		args->words[n++] = (char *)"--paused";
	if (o->no_sandbox)
		args->words[n++] = (char *)"--no-sandbox";
	if (ready_fd >= 0) {
		snprintf(args->ready, sizeof(args->ready), "%d", ready_fd);
		args->words[n++] = (char *)"--ready-fd";
		args->words[n++] = args->ready;
	}
	args->words[n++] = (char *)o->file;
	args->words[n] = NULL;
}

int spawn_become(const struct spawn_options *options, struct error *err)
{
	struct args args;

	make_args(options, -1, &args);
	execvp(args.monitor, args.words);
	return error_system(err, errno == ENOENT ? -ENOEXEC : -errno, "cannot start %s",
			    args.monitor);
}

/* In the child: nothing of the terminal's or the caller's stays with the monitor. */
static _Noreturn void child(const struct spawn_options *o, int log_fd, int ready_fd)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct args args;

	setsid();
	dup2(null_fd, STDIN_FILENO);
	dup2(log_fd, STDOUT_FILENO);
	dup2(log_fd, STDERR_FILENO);
	fcntl(ready_fd, F_SETFD, 0);
	make_args(o, ready_fd, &args);
	execvp(args.monitor, args.words);
	dprintf(STDERR_FILENO,
		"cannot start %s: %s; is it installed next to segue, or in PATH?\n",
		args.monitor, strerror(errno));
	_exit(127);
}

/* What the log holds beyond FROM, its end if that is long, without the last newline. */
static void read_log(int log_fd, off_t from, char *text, size_t size)
{
	off_t end = lseek(log_fd, 0, SEEK_END);
	ssize_t n;

	if (end - from > (off_t)size - 1)
		from = end - (off_t)size + 1;
	n = pread(log_fd, text, size - 1, from);
	text[n > 0 ? n : 0] = '\0';
	for (size_t len = strlen(text); len && text[len - 1] == '\n'; len--)
		text[len - 1] = '\0';
}

static int failed(const struct spawn_options *o, pid_t pid, int log_fd, off_t log_start,
		  struct error *err)
{
	char words[LOG_TAIL];
	int status = 0;

	waitpid(pid, &status, 0);
	read_log(log_fd, log_start, words, sizeof(words));
	if (*words)
		return error_set(err, -ECHILD, "%s", words);
	if (WIFSIGNALED(status))
		return error_set(err, -ECHILD,
				 "the monitor of \"%s\" was killed by signal %d (%s)", o->name,
				 WTERMSIG(status), strsignal(WTERMSIG(status)));
	return error_set(err, -ECHILD,
			 "the monitor of \"%s\" ended before it was ready (exit code "
			 "%d), without a word",
			 o->name, WEXITSTATUS(status));
}

/* A line from the monitor; 0 at its end without one, as it closes the pipe by exiting. */
static ssize_t read_ready(int fd, char *line, size_t size)
{
	size_t len = 0;

	while (len + 1 < size) {
		ssize_t n = read(fd, line + len, 1);

		if (n < 0)
			return -errno;
		if (!n)
			return 0;
		if (line[len] == '\n')
			break;
		len++;
	}
	line[len] = '\0';
	return (ssize_t)len;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
	(void)number;
	interrupted = 1;
}

/* Ctrl-C while waiting must not leave half a guest behind. */
static ssize_t wait_ready(int fd, pid_t pid, char *line, size_t size)
{
	struct sigaction action = {.sa_handler = on_interrupt}, was;
	ssize_t n;

	sigaction(SIGINT, &action, &was);
	n = read_ready(fd, line, size);
	if (interrupted)
		kill(pid, SIGTERM);
	sigaction(SIGINT, &was, NULL);
	return n;
}

static int start(const struct spawn_options *o, int log_fd, struct spawned *ret,
		 struct error *err)
{
	off_t log_start = lseek(log_fd, 0, SEEK_END);
	char line[160] = "";
	int ready[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) < 0)
		return error_system(err, -errno, "cannot make a pipe");
	pid = fork();
	if (!pid)
		child(o, log_fd, ready[1]);
	close(ready[1]);
	if (pid < 0) {
		close(ready[0]);
		return error_system(err, -errno, "cannot start a process");
	}
	n = wait_ready(ready[0], pid, line, sizeof(line));
	close(ready[0]);
	if (interrupted) {
		waitpid(pid, NULL, 0);
		return error_set(err, -ECANCELED, "interrupted; the guest was not started");
	}
	if (n <= 0 || strncmp(line, "ready", 5) != 0) {
		kill(pid, SIGTERM);
		return failed(o, pid, log_fd, log_start, err);
	}
	ret->pid = pid;
	snprintf(ret->listen, sizeof(ret->listen), "%.*s", (int)sizeof(ret->listen) - 1,
		 line[5] == ' ' ? line + 6 : "");
	return 0;
}

int spawn_monitor(const struct spawn_options *options, struct spawned *ret_spawned,
		  struct error *err)
{
	char *path = paths_join(options->state_dir, options->name, PATHS_LOG);
	int log_fd, r;

	if (!path)
		return error_set(err, -ENOMEM, "out of memory");
	log_fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log_fd < 0)
		r = error_system(err, -errno, "cannot open %s", path);
	else
		r = start(options, log_fd, ret_spawned, err);
	if (log_fd >= 0)
		close(log_fd);
	free(path);
	return r;
}
