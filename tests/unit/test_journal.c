/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "migrate/journal.h"

static char directory[] = "/tmp/segue-journal-XXXXXX";
static char path[64];

static const struct journal_entry granted = {
    .epoch = 7,
    .what = JOURNAL_CEDED,
    .move_id = {0x00, 0x01, 0x7f, 0x80, 0xff, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    .peer = "[fe80::1]:4711",
};

static void write_file(const char *text)
{
	FILE *file = fopen(path, "w");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	fputs(text, file);
	fclose(file);
}

static const char *read_file(void)
{
	static char text[8192];
	FILE *file = fopen(path, "r");

	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	fclose(file);
	return text;
}

static void open_good(struct journal *journal)
{
	struct error err = {0};

	CU_ASSERT_EQUAL_FATAL(journal_open(journal, path, &err), 0);
}

static void append_good(struct journal *journal, enum journal_what what, uint64_t epoch)
{
	struct journal_entry entry = {.epoch = epoch, .what = what};

	CU_ASSERT_EQUAL_FATAL(journal_append(journal, &entry, NULL), 0);
}

static void check_last(enum journal_what what, uint64_t epoch)
{
	struct journal journal;

	open_good(&journal);
	CU_ASSERT_EQUAL(journal.last.what, what);
	CU_ASSERT_EQUAL(journal.last.epoch, epoch);
	journal_close(&journal);
}

static void test_new(void)
{
	struct journal journal;
	struct stat st;

	unlink(path);
	open_good(&journal);
	CU_ASSERT_EQUAL(journal.last.what, JOURNAL_NONE);
	journal_close(&journal);
	CU_ASSERT_EQUAL(journal.fd, -1);
	CU_ASSERT_STRING_EQUAL(read_file(), "segue-journal 1\n");
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT_EQUAL(st.st_mode & 0777, 0600);
	check_last(JOURNAL_NONE, 0);
}

static void test_entries(void)
{
	struct journal journal;

	unlink(path);
	for (enum journal_what what = JOURNAL_OWNS; what < JOURNAL_WHATS; what++) {
		open_good(&journal);
		append_good(&journal, what, (uint64_t)what * 1000);
		journal_close(&journal);
		check_last(what, (uint64_t)what * 1000);
	}
	open_good(&journal);
	append_good(&journal, JOURNAL_OWNS, UINT64_MAX);
	journal_close(&journal);
	check_last(JOURNAL_OWNS, UINT64_MAX);
}

static void test_whole_entry(void)
{
	struct journal journal;

	unlink(path);
	open_good(&journal);
	CU_ASSERT_EQUAL(journal_append(&journal, &granted, NULL), 0);
	CU_ASSERT_EQUAL(journal.last.epoch, 7);
	journal_close(&journal);
	CU_ASSERT_STRING_EQUAL(read_file(),
			       "segue-journal 1\n7 ceded "
			       "00017f80ff05060708090a0b0c0d0e0f [fe80::1]:4711\n");
	open_good(&journal);
	CU_ASSERT_EQUAL(memcmp(journal.last.move_id, granted.move_id, JOURNAL_MOVE_ID), 0);
	CU_ASSERT_STRING_EQUAL(journal.last.peer, granted.peer);
	journal_close(&journal);
}

/* Every cut of the last line: the one before counts, and the next goes where it was. */
static void test_torn(void)
{
	static const char whole[] = "segue-journal 1\n3 owns - -\n";
	static const char last[] = "4 ceded 00017f80ff05060708090a0b0c0d0e0f a:1";
	char text[128];
	struct journal journal;

	for (int keep = 1; keep <= (int)strlen(last); keep++) {
		snprintf(text, sizeof(text), "%s%.*s", whole, keep, last);
		write_file(text);
		check_last(JOURNAL_OWNS, 3);
		CU_ASSERT_STRING_EQUAL(read_file(), whole);
	}
	open_good(&journal);
	append_good(&journal, JOURNAL_ENDED, 4);
	journal_close(&journal);
	CU_ASSERT_STRING_EQUAL(read_file(), "segue-journal 1\n3 owns - -\n4 ended - -\n");
}

/* A torn header is a new file that got no further. */
static void test_foreign(void)
{
	static const char *const texts[] = {
	    "root:x:0:0:root:/root:/bin/sh\n",
	    "segue-journal 2\n1 owns - -\n",
	    "segue-journal 1",
	    "segue-journal 1\n1 rules - -\n",
	    "segue-journal 1\n1 owns\n",
	    "segue-journal 1\n1 owns 0123 -\n",
	    "segue-journal 1\n1 owns zz017f80ff05060708090a0b0c0d0e0f -\n",
	    "segue-journal 1\none owns - -\n",
	    "segue-journal 1\n1 none - -\n",
	    "segue-journal 1\n1 owns - -\n\n",
	    "segue-journal 1\n-1 owns - -\n",
	    "segue-journal 1\n99999999999999999999999 owns - -\n",
	    "\n",
	};
	struct journal journal;
	struct error err;

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		int r;

		write_file(texts[i]);
		err = (struct error){0};
		r = journal_open(&journal, path, &err);
		if (!r)
			printf("taken for a journal: '%s'\n", texts[i]);
		CU_ASSERT_EQUAL(r, -EINVAL);
		CU_ASSERT(strstr(err.text, path) != NULL);
		CU_ASSERT_EQUAL(journal.fd, -1);
		CU_ASSERT_STRING_EQUAL(read_file(), texts[i]);
		if (!r)
			journal_close(&journal);
	}
}

static void test_symlink(void)
{
	struct journal journal;
	char other[sizeof(path) + 8];

	unlink(path);
	snprintf(other, sizeof(other), "%s.other", path);
	CU_ASSERT_EQUAL_FATAL(symlink(other, path), 0);
	CU_ASSERT_EQUAL(journal_open(&journal, path, NULL), -ELOOP);
	CU_ASSERT_EQUAL(access(other, F_OK), -1);
	unlink(path);
}

/* A second monitor is kept out, until the first one ends, however it does. */
static void test_lock(void)
{
	struct journal journal, second;
	struct error err = {0};
	pid_t child;

	unlink(path);
	child = fork();
	if (!child) {
		open_good(&journal);
		kill(getpid(), SIGSTOP);
		_exit(1);
	}
	CU_ASSERT_EQUAL(waitpid(child, NULL, WUNTRACED), child);
	CU_ASSERT_EQUAL(journal_open(&second, path, &err), -EBUSY);
	CU_ASSERT_EQUAL(second.fd, -1);
	CU_ASSERT(strstr(err.text, "another monitor") != NULL);
	kill(child, SIGKILL);
	CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
	open_good(&journal);
	CU_ASSERT_EQUAL(journal_open(&second, path, NULL), -EBUSY);
	journal_close(&journal);
	open_good(&journal);
	journal_close(&journal);
}

/* One that was killed holds it for as long as its memory takes to go. */
static void test_predecessor_ends(void)
{
	struct journal journal;
	int ready[2];
	pid_t child;
	char byte;

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
	child = fork();
	if (!child) {
		open_good(&journal);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		usleep(100000);
		_exit(0);
	}
	CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
	open_good(&journal);
	journal_close(&journal);
	CU_ASSERT_EQUAL(waitpid(child, NULL, 0), child);
	close(ready[0]);
	close(ready[1]);
}

static void test_epoch_never_falls(void)
{
	struct journal_entry entry = {.epoch = 4, .what = JOURNAL_OWNS};
	struct journal journal;
	struct error err = {0};

	unlink(path);
	open_good(&journal);
	append_good(&journal, JOURNAL_OWNS, 5);
	CU_ASSERT_EQUAL(journal_append(&journal, &entry, &err), -EINVAL);
	CU_ASSERT_EQUAL(journal.last.epoch, 5);
	append_good(&journal, JOURNAL_CEDED, 5);
	journal_close(&journal);
	check_last(JOURNAL_CEDED, 5);
	CU_ASSERT_STRING_EQUAL(read_file(), "segue-journal 1\n5 owns - -\n5 ceded - -\n");
}

/* What cannot be read again as one entry is not written. */
static void test_bad_peer(void)
{
	static const char *const peers[] = {"a b", "a\nb", "a\n9 owns - -", "\t"};
	struct journal journal;

	unlink(path);
	open_good(&journal);
	append_good(&journal, JOURNAL_OWNS, 1);
	for (unsigned i = 0; i < sizeof(peers) / sizeof(peers[0]); i++) {
		struct journal_entry entry = {.epoch = 2, .what = JOURNAL_CEDED};

		strcpy(entry.peer, peers[i]);
		CU_ASSERT_EQUAL(journal_append(&journal, &entry, NULL), -EINVAL);
	}
	journal_close(&journal);
	check_last(JOURNAL_OWNS, 1);
}

static void test_long(void)
{
	struct journal_entry entry = granted;
	struct journal journal;
	struct stat st;

	unlink(path);
	open_good(&journal);
	memset(entry.peer, 'x', sizeof(entry.peer) - 1);
	for (entry.epoch = 1; entry.epoch <= 200; entry.epoch++)
		CU_ASSERT_EQUAL_FATAL(journal_append(&journal, &entry, NULL), 0);
	journal_close(&journal);
	CU_ASSERT_EQUAL(stat(path, &st), 0);
	CU_ASSERT(st.st_size > 30000);
	check_last(JOURNAL_CEDED, 200);
}

/* A full disk takes part of a line: it fails, nothing of it counts, and later it succeeds. */
static void test_full_disk(void)
{
	struct rlimit was, small;
	struct journal journal;
	off_t size;

	unlink(path);
	open_good(&journal);
	append_good(&journal, JOURNAL_OWNS, 6);
	size = lseek(journal.fd, 0, SEEK_END);
	signal(SIGXFSZ, SIG_IGN);
	CU_ASSERT_EQUAL_FATAL(getrlimit(RLIMIT_FSIZE, &was), 0);
	for (rlim_t room = 0; room < 40; room += 3) {
		small =
		    (struct rlimit){.rlim_cur = (rlim_t)size + room, .rlim_max = was.rlim_max};
		CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &small), 0);
		CU_ASSERT(journal_append(&journal, &granted, NULL) < 0);
		CU_ASSERT_EQUAL(setrlimit(RLIMIT_FSIZE, &was), 0);
		CU_ASSERT_EQUAL(journal.last.what, JOURNAL_OWNS);
		CU_ASSERT_STRING_EQUAL(read_file(), "segue-journal 1\n6 owns - -\n");
	}
	CU_ASSERT_EQUAL(journal_append(&journal, &granted, NULL), 0);
	journal_close(&journal);
	check_last(JOURNAL_CEDED, 7);
}

static int set_up(void)
{
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/journal", directory);
	return 0;
}

static int tear_down(void)
{
	unlink(path);
	return rmdir(directory);
}

int main(void)
{
	CU_pSuite suite;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("journal", set_up, tear_down);
	if (!suite || !CU_add_test(suite, "a new one", test_new) ||
	    !CU_add_test(suite, "every word", test_entries) ||
	    !CU_add_test(suite, "a whole entry", test_whole_entry) ||
	    !CU_add_test(suite, "torn lines", test_torn) ||
	    !CU_add_test(suite, "foreign files", test_foreign) ||
	    !CU_add_test(suite, "a symbolic link", test_symlink) ||
	    !CU_add_test(suite, "the lock", test_lock) ||
	    !CU_add_test(suite, "a predecessor that ends", test_predecessor_ends) ||
	    !CU_add_test(suite, "epochs", test_epoch_never_falls) ||
	    !CU_add_test(suite, "a peer with spaces", test_bad_peer) ||
	    !CU_add_test(suite, "a long one", test_long) ||
	    !CU_add_test(suite, "a full disk", test_full_disk))
		return 1;
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
