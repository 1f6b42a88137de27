/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Works on files the way fsx does - writes, reads, truncates, maps, syncs, renames, removes -
 * and keeps in memory what each must contain. Every read is compared.
 *
 *   fsload DIR [--files N (8)] [--size BYTES (1M)] [--seed S] [--rate OPS/S] [--port P (5003)]
 *
 * The command "finish" on the port ends the work, syncs all, and answers with each file's
 * name, size and CRC-32, so that the disk can be checked when the guest is gone.
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_FILES    64
#define MAX_TRANSFER 65536

struct file {
	char name[64];
	int fd;
	uint8_t *model;
	size_t size;
	unsigned int renamed;
};

static const char *directory;
static struct file files[MAX_FILES];
static unsigned int file_count;
static size_t size_max;
static uint64_t seed;
static struct gap gap;

/* Taken for one operation, and by a report. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t operations, errors, bytes_written, bytes_read;
static char first_error[256];
static bool finished;

static uint64_t draw(uint64_t below)
{
	return below ? prng_next(&seed) % below : 0;
}

__attribute__((format(printf, 2, 3))) static void wrong(const struct file *file,
							const char *format, ...)
{
	char text[160];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (!errors++)
		snprintf(first_error, sizeof(first_error), "%s, operation %lu: %s", file->name,
			 (unsigned long)operations, text);
	fprintf(stderr, "fsload: %s: %s\n", file->name, text);
}

static void path_of(const struct file *file, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", directory, file->name);
}

static void file_open(struct file *file)
{
	char path[512];

	path_of(file, path, sizeof(path));
	file->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (file->fd < 0)
		die("%s", path);
	file->size = 0;
}

static void fill(uint8_t *to, size_t len)
{
	uint64_t word = prng_next(&seed);

	/* Half of what is written is easy to compress, as most files are. */
	for (size_t i = 0; i < len; i++) {
		if (word & 1 && i % 8 == 0)
			word = prng_next(&seed) | 1;
		to[i] = (uint8_t)(word >> (8 * (i % 8)));
	}
}

/* A place in the file to work at, and how much there. */
static size_t range(size_t limit, size_t *len)
{
	size_t at = draw(limit);

	*len = 1 + draw(MAX_TRANSFER);
	if (draw(2)) { /* whole blocks, as often as not */
		at &= ~(size_t)4095;
		*len = (*len + 4095) & ~(size_t)4095;
	}
	if (*len > limit - at)
		*len = limit - at;
	return at;
}

/* A place past the end is reached through a hole, which reads as zeros. */
static void model_extend(struct file *file, size_t end)
{
	if (end <= file->size)
		return;
	memset(file->model + file->size, 0, end - file->size);
	file->size = end;
}

static void op_write(struct file *file)
{
	size_t len, at = range(size_max, &len);
	ssize_t done;

	model_extend(file, at + len);
	fill(file->model + at, len);
	done = pwrite(file->fd, file->model + at, len, (off_t)at);
	if (done != (ssize_t)len)
		wrong(file, "write of %zu at %zu gave %zd (%s)", len, at, done,
		      strerror(errno));
	bytes_written += len;
}

static void op_read(struct file *file)
{
	static uint8_t data[MAX_TRANSFER + 4096];
	size_t len, at;
	ssize_t done;

	if (!file->size)
		return;
	at = range(file->size, &len);
	done = pread(file->fd, data, len, (off_t)at);
	if (done != (ssize_t)len) {
		wrong(file, "read of %zu at %zu gave %zd (%s)", len, at, done, strerror(errno));
		return;
	}
	bytes_read += len;
	for (size_t i = 0; i < len; i++) {
		if (data[i] == file->model[at + i])
			continue;
		wrong(file, "byte %zu is %02x, not %02x", at + i, data[i], file->model[at + i]);
		return;
	}
}

static void op_truncate(struct file *file)
{
	size_t to = draw(4) ? draw(size_max) : 0;

	if (ftruncate(file->fd, (off_t)to) < 0)
		wrong(file, "truncate to %zu: %s", to, strerror(errno));
	model_extend(file, to);
	file->size = to;
}

static void op_map(struct file *file)
{
	size_t len, at;
	uint8_t *map;

	if (!file->size)
		return;
	at = range(file->size, &len);
	map = mmap(NULL, file->size, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
	if (map == MAP_FAILED) {
		wrong(file, "mmap: %s", strerror(errno));
		return;
	}
	if (memcmp(map + at, file->model + at, len) != 0)
		wrong(file, "mapped %zu at %zu differs", len, at);
	fill(file->model + at, len);
	memcpy(map + at, file->model + at, len);
	if (draw(2) && msync(map, file->size, MS_SYNC) < 0)
		wrong(file, "msync: %s", strerror(errno));
	munmap(map, file->size);
	bytes_written += len;
}

/* After this, reads have to come from the disk. */
static void op_sync(struct file *file)
{
	if (fsync(file->fd) < 0)
		wrong(file, "fsync: %s", strerror(errno));
	posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
}

static void op_rename(struct file *file)
{
	char from[512], to[512];

	path_of(file, from, sizeof(from));
	snprintf(file->name, sizeof(file->name), "file-%zu-%u", (size_t)(file - files),
		 ++file->renamed);
	path_of(file, to, sizeof(to));
	if (rename(from, to) < 0)
		wrong(file, "rename: %s", strerror(errno));
}

static void op_anew(struct file *file)
{
	char path[512];

	path_of(file, path, sizeof(path));
	close(file->fd);
	if (unlink(path) < 0)
		wrong(file, "unlink: %s", strerror(errno));
	file_open(file);
}

static void operate(void)
{
	struct file *file = &files[draw(file_count)];
	uint64_t what = draw(100);

	if (what < 40)
		op_write(file);
	else if (what < 75)
		op_read(file);
	else if (what < 82)
		op_map(file);
	else if (what < 88)
		op_sync(file);
	else if (what < 93)
		op_truncate(file);
	else if (what < 97)
		op_rename(file);
	else
		op_anew(file);
	operations++;
	gap_event(&gap, clock_ns(CLOCK_MONOTONIC));
}

static void finish(FILE *to)
{
	finished = true;
	fprintf(to, ", \"files\": [");
	for (unsigned int i = 0; i < file_count; i++) {
		struct file *file = &files[i];

		op_sync(file);
		fprintf(to, "%s{\"name\": \"%s\", \"size\": %zu, \"crc32\": %u}", i ? ", " : "",
			file->name, file->size, crc32_add(0, file->model, file->size));
	}
	fprintf(to, "]");
	sync();
}

static void report(FILE *to, const char *command)
{
	pthread_mutex_lock(&lock);
	fprintf(to, "{\"operations\": %lu, \"written\": %lu, \"read\": %lu",
		(unsigned long)operations, (unsigned long)bytes_written,
		(unsigned long)bytes_read);
	if (strcmp(command, "finish") == 0)
		finish(to);
	fprintf(to, ", \"errors\": %lu, \"first_error\": \"%s\", \"longest_gap_ms\": %.3f}",
		(unsigned long)errors, first_error, (double)gap.longest / 1e6);
	pthread_mutex_unlock(&lock);
}

static void files_make(void)
{
	for (unsigned int i = 0; i < file_count; i++) {
		snprintf(files[i].name, sizeof(files[i].name), "file-%u-0", i);
		files[i].model = malloc(size_max);
		if (!files[i].model)
			die("memory");
		file_open(&files[i]);
	}
}

int main(int argc, char **argv)
{
	struct pace pace = {.per_second = option_number(argc, argv, "rate", 0)};

	errno = 0;
	if (argc < 2 || argv[1][0] == '-')
		die("fsload DIR ...");
	directory = argv[1];
	file_count = (unsigned int)option_number(argc, argv, "files", 8);
	size_max = option_number(argc, argv, "size", 1 << 20);
	seed = option_number(argc, argv, "seed", clock_ns(CLOCK_REALTIME));
	if (file_count < 1 || file_count > MAX_FILES || size_max < 4096)
		die("--files: 1 to %d; --size: 4096 or more", MAX_FILES);
	files_make();
	report_serve((uint16_t)option_number(argc, argv, "port", 5003), report);
	for (;;) {
		pthread_mutex_lock(&lock);
		if (!finished)
			operate();
		pthread_mutex_unlock(&lock);
		pace_wait(&pace, 1);
		if (finished)
			sleep_ns(NS_PER_S);
	}
}
