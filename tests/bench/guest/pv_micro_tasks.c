// SPDX-License-Identifier: Apache-2.0
/* Processes that begin, end, and wait for each other. */
#include "pv_micro.h"

#include <arpa/inet.h>
#include <linux/futex.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void wait_for(pid_t pid)
{
	int status;

	micro_need(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child");
}

static uint64_t fork_exit(uint64_t n)
{
	uint64_t begin = micro_now();

	while (n--) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		wait_for(pid);
	}
	return micro_now() - begin;
}

static uint64_t fork_exec(uint64_t n)
{
	const char *path = (const char *)getauxval(AT_EXECFN);
	uint64_t begin = micro_now();

	while (n--) {
		pid_t pid = fork();

		if (pid == 0) {
			execl(path, path, "exit", (char *)NULL);
			_exit(127);
		}
		wait_for(pid);
	}
	return micro_now() - begin;
}

/* What comes in goes back; ends when nothing more comes. */
static void echo(int in, int out)
{
	char c;

	while (read(in, &c, 1) == 1)
		if (write(out, &c, 1) != 1)
			break;
	_exit(0);
}

static uint64_t round_trips(uint64_t n, int in, int out)
{
	uint64_t begin = micro_now();
	char c = 0;

	while (n--)
		micro_need(write(out, &c, 1) == 1 && read(in, &c, 1) == 1, "a round trip");
	return micro_now() - begin;
}

static uint64_t pipe_trips(uint64_t n)
{
	int there[2], back[2];
	uint64_t ns;
	pid_t pid;

	micro_need(!pipe(there) && !pipe(back), "pipe");
	pid = fork();
	if (pid == 0) {
		close(there[1]);
		echo(there[0], back[1]);
	}
	ns = round_trips(n, back[0], there[1]);
	close(there[1]);
	wait_for(pid);
	close(there[0]);
	close(back[0]);
	close(back[1]);
	return ns;
}

static int connect_to(int listener)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int s = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	micro_need(!getsockname(listener, (struct sockaddr *)&address, &size), "getsockname");
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	micro_need(!connect(s, (struct sockaddr *)&address, size), "connect");
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return s;
}

static uint64_t tcp_trips(uint64_t n)
{
	int listener = socket(AF_INET, SOCK_STREAM, 0), s;
	uint64_t ns;
	pid_t pid;

	micro_need(!listen(listener, 1), "listen");
	pid = fork();
	if (pid == 0) {
		s = connect_to(listener);
		echo(s, s);
	}
	s = accept(listener, NULL, NULL);
	micro_need(s >= 0, "accept");
	close(listener);
	ns = round_trips(n, s, s);
	close(s);
	wait_for(pid);
	return ns;
}

static void use_one_processor(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	micro_need(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

static void use_all_processors(void)
{
	cpu_set_t set;

	for (size_t i = 0; i < sizeof(set); i++)
		((char *)&set)[i] = (char)0xff;
	micro_need(!sched_setaffinity(0, sizeof(set), &set), "sched_setaffinity");
}

/* Takes turns: waits until WORD is MINE, then makes it THEIRS. */
static void take_turns(_Atomic int *word, int mine, int theirs, uint64_t n)
{
	while (n--) {
		while (atomic_load(word) != mine)
			syscall(SYS_futex, word, FUTEX_WAIT, theirs, NULL, NULL, 0);
		atomic_store(word, theirs);
		syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

/* An operation is one process handing over to another, on one processor. */
static uint64_t switches(uint64_t n)
{
	_Atomic int *word =
	    mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t turns = (n + 1) / 2, begin;
	pid_t pid;

	micro_need(word != MAP_FAILED, "mmap");
	begin = micro_now();
	pid = fork();
	if (pid == 0) {
		take_turns(word, 1, 0, turns);
		_exit(0);
	}
	take_turns(word, 0, 1, turns);
	wait_for(pid);
	munmap((void *)word, PAGE);
	return micro_now() - begin;
}

const struct micro micro_tasks[] = {
    {"fork-exit", PER_OP_US, 0, NULL, fork_exit, NULL},
    {"fork-exec", PER_OP_US, 0, NULL, fork_exec, NULL},
    {"pipe", PER_OP_US, 0, NULL, pipe_trips, NULL},
    {"tcp", PER_OP_US, 0, NULL, tcp_trips, NULL},
    {"switch", PER_OP_US, 0, use_one_processor, switches, use_all_processors},
    {0},
};
