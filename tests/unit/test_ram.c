/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/ram.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static struct ram *make(uint64_t size)
{
	struct error err = {0};
	struct ram *ram = NULL;

	CU_ASSERT_EQUAL_FATAL(ram_create(size, &ram, &err), 0);
	return ram;
}

static uint64_t *words_of(const struct ram *ram)
{
	return calloc(ram_size(ram) / RAM_PAGE / 64, sizeof(uint64_t));
}

static bool bit(const uint64_t *words, uint64_t page)
{
	return words[page / 64] >> (page % 64) & 1;
}

static uint64_t count(const struct ram *ram, const uint64_t *words)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < ram_size(ram) / RAM_PAGE / 64; i++)
		n += (uint64_t)__builtin_popcountll(words[i]);
	return n;
}

static void test_sizes(void)
{
	struct error err = {0};
	struct ram *ram = NULL;

	CU_ASSERT_EQUAL(ram_create(0, &ram, &err), -EINVAL);
	CU_ASSERT_EQUAL(ram_create(2 * MIB + 4096, &ram, NULL), -EINVAL);
	CU_ASSERT_EQUAL(ram_create(1ull << 63, &ram, NULL), -EINVAL);
	CU_ASSERT_EQUAL(ram_create((1ull << 40) + 2 * MIB, &ram, NULL), -EINVAL);
	CU_ASSERT_PTR_NULL(ram);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "2 MiB"));
	ram_destroy(NULL);
}

static void test_one_slot(void)
{
	struct ram *ram = make(8 * MIB);
	const struct ram_slot *slots;
	struct stat st;

	CU_ASSERT_EQUAL_FATAL(ram_slots(ram, &slots), 1);
	CU_ASSERT_EQUAL(slots[0].gpa, 0);
	CU_ASSERT_EQUAL(slots[0].size, 8 * MIB);
	CU_ASSERT_EQUAL((uintptr_t)ram_base(ram) % (2 * MIB), 0);
	CU_ASSERT_EQUAL(fstat(ram_fd(ram), &st), 0);
	CU_ASSERT_EQUAL(st.st_size, 8 * MIB);
	CU_ASSERT_EQUAL(st.st_blocks, 0); /* nothing allocated yet */
	CU_ASSERT_TRUE(fcntl(ram_fd(ram), F_GETFD) & FD_CLOEXEC);
	ram_destroy(ram);
}

static bool put(const char *path, const char *line)
{
	FILE *file = fopen(path, "we");

	return file && fputs(line, file) >= 0 && fclose(file) == 0;
}

/* In a process of its own: in here nobody gets a user namespace, and root is nobody. */
static int without_namespaces(void)
{
	unsigned uid = geteuid();
	char map[32];
	struct ram *ram;

	snprintf(map, sizeof(map), "0 %u 1", uid);
	if (unshare(CLONE_NEWUSER) || !put("/proc/self/uid_map", map) ||
	    !put("/proc/sys/user/max_user_namespaces", "0"))
		return 77;
	if (ram_create(4 * MIB, &ram, NULL) || ram_huge(ram))
		return 1;
	return ram_write(ram, 3 * MIB, "x", 1) || *(char *)ram_at(ram, 3 * MIB, 1) != 'x';
}

/* Where a mount of one's own is not to be had, an ordinary memfd does. */
static void test_small_pages(void)
{
	pid_t child = fork();
	int status = -1;

	if (child == 0)
		_exit(without_namespaces());
	CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		printf("(no user namespaces here at all: so every test is this one) ");
	else
		CU_ASSERT_EQUAL(status, 0);
}

static void test_two_slots(void)
{
	struct ram *ram = make(5 * GIB);
	const struct ram_slot *slots;

	CU_ASSERT_EQUAL_FATAL(ram_slots(ram, &slots), 2);
	CU_ASSERT_EQUAL(slots[0].size, 3 * GIB);
	CU_ASSERT_EQUAL(slots[1].gpa, 4 * GIB);
	CU_ASSERT_EQUAL(slots[1].offset, 3 * GIB);
	CU_ASSERT_EQUAL(slots[1].size, 2 * GIB);
	CU_ASSERT_PTR_EQUAL(ram_at(ram, 4 * GIB, 1), ram_base(ram) + 3 * GIB);
	CU_ASSERT_PTR_EQUAL(ram_at(ram, 6 * GIB - 1, 1), ram_base(ram) + 5 * GIB - 1);
	/* A range may not bridge the hole, nor touch it. */
	CU_ASSERT_PTR_NULL(ram_at(ram, 3 * GIB - 1, 2));
	CU_ASSERT_PTR_NULL(ram_at(ram, 3 * GIB, 1));
	CU_ASSERT_PTR_NULL(ram_at(ram, 4 * GIB - 1, 1));
	CU_ASSERT_PTR_NULL(ram_at(ram, 6 * GIB, 1));
	ram_destroy(ram);
}

static void test_flat(void)
{
	struct ram *ram = NULL;
	const struct ram_slot *slots;

	CU_ASSERT_EQUAL_FATAL(ram_create_flat(5 * GIB, &ram, NULL), 0);
	CU_ASSERT_EQUAL_FATAL(ram_slots(ram, &slots), 1);
	CU_ASSERT_EQUAL(slots[0].gpa, 0);
	CU_ASSERT_EQUAL(slots[0].size, 5 * GIB);
	CU_ASSERT_PTR_EQUAL(ram_at(ram, 3 * GIB - 1, 2), ram_base(ram) + 3 * GIB - 1);
	CU_ASSERT_PTR_NULL(ram_at(ram, 5 * GIB, 1));
	ram_destroy(ram);
	CU_ASSERT_EQUAL(ram_create_flat(2 * MIB + 4096, &ram, NULL), -EINVAL);
}

static void test_bounds(void)
{
	struct ram *ram = make(2 * MIB);
	uint8_t byte = 1;

	CU_ASSERT_PTR_NOT_NULL(ram_at(ram, 0, 2 * MIB));
	CU_ASSERT_PTR_NULL(ram_at(ram, 0, 2 * MIB + 1));
	CU_ASSERT_PTR_NULL(ram_at(ram, 1, 2 * MIB));
	CU_ASSERT_PTR_NULL(ram_at(ram, 4096, UINT64_MAX));
	CU_ASSERT_PTR_NULL(ram_at(ram, UINT64_MAX, 1));
	CU_ASSERT_PTR_NULL(ram_at(ram, UINT64_MAX, UINT64_MAX));
	CU_ASSERT_PTR_NOT_NULL(ram_at(ram, 2 * MIB - 1, 0));
	CU_ASSERT_EQUAL(ram_read(ram, 2 * MIB, &byte, 1), -EFAULT);
	CU_ASSERT_EQUAL(ram_write(ram, 2 * MIB - 1, &byte, 2), -EFAULT);
	CU_ASSERT_EQUAL(ram_read(ram, 2 * MIB - 1, &byte, 1), 0);
	CU_ASSERT_EQUAL(byte, 0);
	ram_destroy(ram);
}

static void test_marks(void)
{
	struct ram *ram = make(4 * MIB);
	uint64_t *words = words_of(ram);
	char text[] = "text";

	/* Untracked writes leave nothing. */
	CU_ASSERT_EQUAL(ram_write(ram, 0, text, 5), 0);
	ram_harvest(ram, words);
	CU_ASSERT_EQUAL(count(ram, words), 0);

	ram_track(ram, true);
	CU_ASSERT_EQUAL(ram_write(ram, 5 * 4096 + 4094, text, 5), 0);
	ram_mark(ram, 62 * 4096, 5 * 4096);
	ram_mark(ram, 130 * 4096, 0);
	ram_mark(ram, 4 * MIB, 1);
	ram_mark(ram, 4 * MIB - 1, 1);
	ram_harvest(ram, words);
	CU_ASSERT_EQUAL(count(ram, words), 8);
	CU_ASSERT_TRUE(bit(words, 5) && bit(words, 6));
	CU_ASSERT_TRUE(bit(words, 62) && bit(words, 66));
	CU_ASSERT_FALSE(bit(words, 67));
	CU_ASSERT_TRUE(bit(words, 1023));

	/* Harvesting ORs and clears. */
	memset(words, 0, 4 * MIB / 4096 / 8);
	words[0] = 1;
	ram_mark(ram, 4096, 1);
	ram_harvest(ram, words);
	CU_ASSERT_EQUAL(words[0], 3);
	words[0] = 0;
	ram_harvest(ram, words);
	CU_ASSERT_EQUAL(count(ram, words), 0);

	/* Tracking anew begins clean. */
	ram_mark(ram, 0, 4 * MIB);
	ram_track(ram, true);
	ram_harvest(ram, words);
	CU_ASSERT_EQUAL(count(ram, words), 0);
	ram_mark(ram, 0, 4 * MIB);
	ram_harvest(ram, words);
	CU_ASSERT_EQUAL(count(ram, words), 1024);
	free(words);
	ram_destroy(ram);
}

static void test_high_marks(void)
{
	struct ram *ram = make(3 * GIB + 2 * MIB);
	uint64_t *words = words_of(ram);

	ram_track(ram, true);
	ram_mark(ram, 4 * GIB + 3 * 4096, 1);
	ram_mark(ram, 3 * GIB - 1, 2); /* not all RAM: nothing */
	ram_harvest(ram, words);
	CU_ASSERT_EQUAL(count(ram, words), 1);
	CU_ASSERT_TRUE(bit(words, 3 * GIB / 4096 + 3));
	free(words);
	ram_destroy(ram);
}

/* Writers and a harvester at once: every mark is harvested, sooner or later. */
struct writer {
	struct ram *ram;
	unsigned index;
	atomic_uint *running;
};

static void *write_pages(void *context)
{
	struct writer *w = context;

	for (uint64_t i = 0; i < 2048; i++) {
		if (i % 4 == w->index)
			ram_write(w->ram, i * 4096, &i, sizeof(i));
	}
	atomic_fetch_sub(w->running, 1);
	return NULL;
}

static void test_threads(void)
{
	struct ram *ram = make(8 * MIB);
	uint64_t *words = words_of(ram);
	struct writer writers[4];
	pthread_t threads[4];
	atomic_uint running = 4;

	ram_track(ram, true);
	for (unsigned i = 0; i < 4; i++) {
		writers[i] = (struct writer){ram, i, &running};
		pthread_create(&threads[i], NULL, write_pages, &writers[i]);
	}
	while (atomic_load(&running))
		ram_harvest(ram, words);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ram_harvest(ram, words);
	CU_ASSERT_EQUAL(count(ram, words), 2048);
	free(words);
	ram_destroy(ram);
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite suite = CU_add_suite("ram", NULL, NULL);
	CU_ADD_TEST(suite, test_sizes);
	CU_ADD_TEST(suite, test_one_slot);
	CU_ADD_TEST(suite, test_small_pages);
	CU_ADD_TEST(suite, test_two_slots);
	CU_ADD_TEST(suite, test_flat);
	CU_ADD_TEST(suite, test_bounds);
	CU_ADD_TEST(suite, test_marks);
	CU_ADD_TEST(suite, test_high_marks);
	CU_ADD_TEST(suite, test_threads);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	int failed = CU_get_number_of_failures() != 0;
	CU_cleanup_registry();
	return failed;
}
