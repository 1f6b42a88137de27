// SPDX-License-Identifier: Apache-2.0
/* What one program asks of its kernel. */
#include "pv_micro.h"

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_PATH "/dev/shm/pv-micro"
#define FILE_SIZE (8 * MIB)

static int file;
static char page[PAGE];

static uint64_t null_call(uint64_t n)
{
	uint64_t begin = micro_now();

	while (n--)
		syscall(SYS_getppid);
	return micro_now() - begin;
}

static uint64_t read_clock(uint64_t n)
{
	uint64_t begin = micro_now();

	while (n--)
		micro_now();
	return micro_now() - begin;
}

static void heard(int number)
{
	(void)number;
}

static void listen_to_signal(void)
{
	micro_need(signal(SIGUSR1, heard) != SIG_ERR, "signal");
}

static uint64_t send_signal(uint64_t n)
{
	uint64_t begin = micro_now();
	pid_t self = getpid();

	while (n--)
		kill(self, SIGUSR1);
	return micro_now() - begin;
}

/* As a program's allocator does: get some, use the beginning, give it back. */
static uint64_t map_unmap(uint64_t n)
{
	uint64_t begin = micro_now();

	while (n--) {
		char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		micro_need(p != MAP_FAILED, "mmap");
		*p = 1;
		munmap(p, 16 * PAGE);
	}
	return micro_now() - begin;
}

static void open_file(void)
{
	file = open(FILE_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);
	micro_need(file >= 0, FILE_PATH);
	for (uint64_t at = 0; at < FILE_SIZE; at += PAGE)
		micro_need(pwrite(file, page, PAGE, (off_t)at) == (ssize_t)PAGE, FILE_PATH);
}

static void close_file(void)
{
	close(file);
	unlink(FILE_PATH);
}

static uint64_t read_file(uint64_t n)
{
	uint64_t begin = micro_now();

	while (n--)
		micro_need(pread(file, page, PAGE, (off_t)(n * PAGE % FILE_SIZE)) > 0, "pread");
	return micro_now() - begin;
}

static uint64_t write_file(uint64_t n)
{
	uint64_t begin = micro_now();

	while (n--)
		micro_need(pwrite(file, page, PAGE, (off_t)(n * PAGE % FILE_SIZE)) > 0,
			   "pwrite");
	return micro_now() - begin;
}

const struct micro micro_kernel[] = {
    {"syscall", PER_OP_NS, 0, NULL, null_call, NULL},
    {"clock", PER_OP_NS, 0, NULL, read_clock, NULL},
    {"signal", PER_OP_US, 0, listen_to_signal, send_signal, NULL},
    {"mmap", PER_OP_US, 0, NULL, map_unmap, NULL},
    {"file-read", PER_OP_US, 0, open_file, read_file, close_file},
    {"file-write", PER_OP_US, 0, open_file, write_file, close_file},
    {0},
};
