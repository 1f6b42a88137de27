/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HEADER   "segue-journal 1\n"
#define LINE_MAX_BYTES 256
#define TAIL_BYTES     4096

static const char *const words[JOURNAL_WHATS] = {
	[JOURNAL_NONE] = "none",       [JOURNAL_OWNS] = "owns",   [JOURNAL_PROMISED] = "promised",
	[JOURNAL_REFUSED] = "refused", [JOURNAL_CEDED] = "ceded", [JOURNAL_MOVED] = "moved",
	[JOURNAL_ENDED] = "ended",
};

const char *journal_word(enum journal_what what)
{
	return words[what];
}

static bool parse_what(const char *word, enum journal_what *ret)
{
	for (unsigned i = JOURNAL_OWNS; i < JOURNAL_WHATS; i++)
		if (!strcmp(word, words[i])) {
			*ret = (enum journal_what)i;
			return true;
		}
	return false;
}

static bool parse_move_id(const char *hex, uint8_t id[JOURNAL_MOVE_ID])
{
	memset(id, 0, JOURNAL_MOVE_ID);
	if (!strcmp(hex, "-"))
		return true;
	if (strlen(hex) != 2 * JOURNAL_MOVE_ID)
		return false;
	for (unsigned i = 0; i < JOURNAL_MOVE_ID; i++) {
		unsigned byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return false;
		id[i] = (uint8_t)byte;
	}
	return true;
}

/* Only figures, unlike strtoull(), to which -1 is a number as well. */
static bool parse_epoch(const char *figures, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(figures, &end, 10);
	return !*end && !errno && strspn(figures, "0123456789") == strlen(figures);
}

static bool parse_line(const char *line, struct journal_entry *ret)
{
	char epoch[21], what[16], move_id[2 * JOURNAL_MOVE_ID + 1], peer[JOURNAL_PEER];
	struct journal_entry entry = {0};

	if (sscanf(line, "%20s %15s %32s %127s", epoch, what, move_id, peer) != 4)
		return false;
	if (!parse_epoch(epoch, &entry.epoch) || !parse_what(what, &entry.what) ||
	    !parse_move_id(move_id, entry.move_id))
		return false;
	memcpy(entry.peer, peer, sizeof(entry.peer));
	*ret = entry;
	return true;
}

/*
 * Finds the last line that its newline ends; what follows it was cut off by a full disk and
 * does not count. Sets *ret_end to the bytes of TAIL that do.
 */
static int parse_tail(char *tail, struct journal_entry *ret, size_t *ret_end)
{
	char *end = strrchr(tail, '\n'), *start;

	if (!end)
		return -EINVAL;
	*ret_end = (size_t)(end - tail) + 1;
	*end = '\0';
	start = strrchr(tail, '\n');
	start = start ? start + 1 : tail;
	if (!strcmp(start, "segue-journal 1"))
		return 0;
	return parse_line(start, ret) ? 0 : -EINVAL;
}

static int read_last(int fd, off_t size, struct journal_entry *ret, off_t *ret_whole)
{
	char tail[TAIL_BYTES + 1], head[sizeof(HEADER)] = "";
	off_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;
	size_t end = 0;
	ssize_t got;
	int r;

	if (pread(fd, head, sizeof(HEADER) - 1, 0) != sizeof(HEADER) - 1 || strcmp(head, HEADER))
		return -EINVAL;
	got = pread(fd, tail, TAIL_BYTES, from);
	if (got < 0)
		return -errno;
	tail[got] = '\0';
	r = parse_tail(tail, ret, &end);
	*ret_whole = from + (off_t)end;
	return r;
}

static int write_whole(int fd, const char *line, size_t len)
{
	ssize_t put = write(fd, line, len);

	if (put < 0)
		return -errno;
	return (size_t)put == len ? 0 : -ENOSPC;
}

static int journal_read(struct journal *journal, const char *path, struct error *err)
{
	off_t size = lseek(journal->fd, 0, SEEK_END), whole = 0;
	int r;

	if (size == 0) {
		r = write_whole(journal->fd, HEADER, strlen(HEADER));
		return r ? error_system(err, r, "cannot write %s", path) : 0;
	}
	r = read_last(journal->fd, size, &journal->last, &whole);
	if (r)
		return error_set(err, r,
				 "%s is not a journal of this program: move it away to go on", path);
	if (whole < size && ftruncate(journal->fd, whole))
		return error_system(err, -errno, "cannot write %s", path);
	return 0;
}

/*
 * A monitor that was killed holds its journal until the kernel has taken its guest's memory
 * apart, and whoever starts another at once shall not be told that it is still there.
 */
#define LOCK_TRIES    50u
#define LOCK_PAUSE_NS 20000000l

static int journal_lock(int fd)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

	for (unsigned left = LOCK_TRIES; flock(fd, LOCK_EX | LOCK_NB); left--) {
		if (errno != EWOULDBLOCK || !left)
			return -1;
		nanosleep(&pause, NULL);
	}
	return 0;
}

int journal_open(struct journal *journal, const char *path, struct error *err)
{
	int r;

	*journal = (struct journal){.fd = -1};
	journal->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (journal->fd < 0)
		return error_system(err, -errno, "cannot open %s", path);
	if (journal_lock(journal->fd))
		r = error_set(err, -EBUSY, "another monitor holds %s: this guest is there already",
			      path);
	else
		r = journal_read(journal, path, err);
	if (r)
		journal_close(journal);
	return r;
}

void journal_close(struct journal *journal)
{
	if (journal->fd >= 0)
		close(journal->fd);
	journal->fd = -1;
}

static void format_move_id(const uint8_t id[JOURNAL_MOVE_ID], char hex[2 * JOURNAL_MOVE_ID + 1])
{
	static const uint8_t none[JOURNAL_MOVE_ID];

	if (!memcmp(id, none, sizeof(none))) {
		memcpy(hex, "-", 2);
		return;
	}
	for (unsigned i = 0; i < JOURNAL_MOVE_ID; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
}

/* What could not be read back as one entry, or would undo a newer one. */
static int check_entry(const struct journal *journal, const struct journal_entry *entry,
		       struct error *err)
{
	if (entry->epoch < journal->last.epoch)
		return error_set(err, -EINVAL,
				 "epoch %" PRIu64 " is older than the journal's, %" PRIu64,
				 entry->epoch, journal->last.epoch);
	if (strpbrk(entry->peer, " \t\r\n\v\f"))
		return error_set(err, -EINVAL, "'%s' cannot be written into the journal",
				 entry->peer);
	return 0;
}

int journal_append(struct journal *journal, const struct journal_entry *entry, struct error *err)
{
	char line[LINE_MAX_BYTES], hex[2 * JOURNAL_MOVE_ID + 1];
	off_t before = lseek(journal->fd, 0, SEEK_END);
	int len, r = check_entry(journal, entry, err);

	if (r)
		return r;
	format_move_id(entry->move_id, hex);
	len = snprintf(line, sizeof(line), "%" PRIu64 " %s %s %s\n", entry->epoch,
		       words[entry->what], hex, entry->peer[0] ? entry->peer : "-");
	r = write_whole(journal->fd, line, (size_t)len);
	if (r) {
		/* Half a line must not become the start of the next one. */
		if (ftruncate(journal->fd, before))
			r = -EIO;
		return error_system(err, r, "cannot write the journal");
	}
	journal->last = *entry;
	return 0;
}
