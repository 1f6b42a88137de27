/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/paths.h"

static char top[] = "/tmp/segue-paths-XXXXXX";

static void clear_environment(void)
{
	unsetenv("SEGUE_STATE_DIR");
	unsetenv("XDG_RUNTIME_DIR");
}

/* What paths_state_dir() says of OPTION, below the test's directory when it is there. */
static int state_dir(const char *option, int make, char *ret, size_t size)
{
	struct error err = {0};
	char *dir = NULL;
	int r = paths_state_dir(option, make, &dir, &err);

	CU_ASSERT_EQUAL(err.code, r);
	CU_ASSERT((r == 0) == (dir != NULL));
	snprintf(ret, size, "%s", dir ? dir : err.text);
	free(dir);
	return r;
}

static void test_order(void)
{
	char path[128], got[512];
	struct stat st;

	clear_environment();
	setenv("XDG_RUNTIME_DIR", top, 1);
	snprintf(path, sizeof(path), "%s/segue", top);
	CU_ASSERT_EQUAL(state_dir(NULL, 0, got, sizeof(got)), -ENOENT);
	CU_ASSERT_EQUAL(state_dir(NULL, 1, got, sizeof(got)), 0);
	CU_ASSERT_STRING_EQUAL(got, path);
	CU_ASSERT(!stat(path, &st) && (st.st_mode & 07777) == 0700);
	CU_ASSERT_EQUAL(state_dir(NULL, 1, got, sizeof(got)), 0);
	setenv("SEGUE_STATE_DIR", top, 1);
	CU_ASSERT_EQUAL(state_dir(NULL, 1, got, sizeof(got)), 0);
	CU_ASSERT_STRING_EQUAL(got, top);
	CU_ASSERT_EQUAL(state_dir(path, 1, got, sizeof(got)), 0);
	CU_ASSERT_STRING_EQUAL(got, path);
	rmdir(path);
}

static void test_refused(void)
{
	char path[128], got[512];

	clear_environment();
	snprintf(path, sizeof(path), "%s/open", top);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(chmod(path, 0770), 0);
	CU_ASSERT_EQUAL(state_dir(path, 1, got, sizeof(got)), -EPERM);
	CU_ASSERT_PTR_NOT_NULL(strstr(got, "others may write"));
	CU_ASSERT_EQUAL(rmdir(path), 0);
	fclose(fopen(path, "w"));
	CU_ASSERT_EQUAL(state_dir(path, 1, got, sizeof(got)), -ENOTDIR);
	unlink(path);
	snprintf(path, sizeof(path), "%s/no/where", top);
	CU_ASSERT_EQUAL(state_dir(path, 1, got, sizeof(got)), -ENOENT);
	if (geteuid())
		return;
	snprintf(path, sizeof(path), "%s/theirs", top);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	CU_ASSERT_EQUAL(chown(path, 65534, 65534), 0);
	CU_ASSERT_EQUAL(state_dir(path, 1, got, sizeof(got)), -EPERM);
	CU_ASSERT_EQUAL(rmdir(path), 0);
	CU_ASSERT_EQUAL(symlink(top, path), 0);
	CU_ASSERT_EQUAL(state_dir(path, 1, got, sizeof(got)), 0);
	CU_ASSERT_EQUAL(lchown(path, 65534, 65534), 0);
	CU_ASSERT_EQUAL(state_dir(path, 1, got, sizeof(got)), -EPERM);
	unlink(path);
}

static void test_names(void)
{
	char name[PATHS_NAME_MAX + 2];

	CU_ASSERT(paths_name_valid("web-1"));
	CU_ASSERT(paths_name_valid("0"));
	CU_ASSERT_FALSE(paths_name_valid(""));
	CU_ASSERT_FALSE(paths_name_valid("-a"));
	CU_ASSERT_FALSE(paths_name_valid("a/b"));
	CU_ASSERT_FALSE(paths_name_valid(".."));
	CU_ASSERT_FALSE(paths_name_valid("A"));
	memset(name, 'a', sizeof(name));
	name[PATHS_NAME_MAX + 1] = '\0';
	CU_ASSERT_FALSE(paths_name_valid(name));
	name[PATHS_NAME_MAX] = '\0';
	CU_ASSERT(paths_name_valid(name));
}

static void test_socket(void)
{
	char dir[120], *path = NULL;
	struct error err = {0};

	CU_ASSERT_EQUAL_FATAL(paths_socket("/run/segue", "web1", &path, &err), 0);
	CU_ASSERT_STRING_EQUAL(path, "/run/segue/web1.sock");
	free(path);
	memset(dir, 'd', sizeof(dir));
	dir[0] = '/';
	dir[sizeof(dir) - 1] = '\0';
	CU_ASSERT_EQUAL(paths_socket(dir, "web1", &path, &err), -ENAMETOOLONG);
}

int main(void)
{
	if (!mkdtemp(top))
		return 1;
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("paths", NULL, NULL);

	CU_add_test(s, "which state directory", test_order);
	CU_add_test(s, "state directories not to be trusted", test_refused);
	CU_add_test(s, "names of guests", test_names);
	CU_add_test(s, "names of sockets", test_socket);
	CU_basic_run_tests();
	rmdir(top);
	return CU_get_number_of_failures() != 0;
}
