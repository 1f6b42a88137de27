/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Landlock (kernel's Documentation/userspace-api/landlock.rst). Rights that came after the
 * first version are spelled out, for kernel headers older than the kernel.
 */
#define RIGHTS_V1      ((1ull << 13) - 1)
#define RIGHT_REFER    (1ull << 13) /* version 2 */
#define RIGHT_TRUNC    (1ull << 14) /* version 3 */
#define RIGHT_IOCTL    (1ull << 15) /* version 5 */
#define SCOPE_ABSTRACT (1ull << 0)  /* version 6: abstract Unix sockets of others */

#define RIGHTS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define RIGHTS_STATE                                                                           \
	(RIGHTS_READ | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |        \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |                           \
	 LANDLOCK_ACCESS_FS_MAKE_SOCK | RIGHT_TRUNC)

/* Of a rule on a file; others are for directories and refused there (EINVAL). */
#define RIGHTS_OF_FILES                                                                        \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |                          \
	 LANDLOCK_ACCESS_FS_READ_FILE | RIGHT_TRUNC | RIGHT_IOCTL)

/* As of version 6; an older kernel takes it while what it does not know is zero. */
struct ruleset {
	uint64_t handled_fs;
	uint64_t handled_net;
	uint64_t scoped;
};

static uint64_t rights_of_version(long version)
{
	uint64_t rights = RIGHTS_V1;

	if (version >= 2)
		rights |= RIGHT_REFER;
	if (version >= 3)
		rights |= RIGHT_TRUNC;
	if (version >= 5)
		rights |= RIGHT_IOCTL;
	return rights;
}

/* MISSING_OK: /proc may not be mounted, a kernel image may since have been removed. */
static int allow(int ruleset, const char *path, uint64_t rights, int missing_ok,
		 struct error *err)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights};
	struct stat st;
	int fd = open(path, O_PATH | O_CLOEXEC), r = 0;

	if (fd < 0)
		return missing_ok ? 0 : error_system(err, -errno, "sandbox: %s", path);
	if (!fstat(fd, &st) && !S_ISDIR(st.st_mode))
		rule.allowed_access &= RIGHTS_OF_FILES;
	rule.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		r = error_system(err, -errno, "sandbox: Landlock rule for %s", path);
	close(fd);
	return r;
}

static int allow_all(int ruleset, const char *const *paths, uint64_t rights, int missing_ok,
		     struct error *err)
{
	int r = 0;

	for (; !r && paths && *paths; paths++)
		r = allow(ruleset, *paths, rights, missing_ok, err);
	return r;
}

static int add_rules(int ruleset, const struct sandbox_options *options, uint64_t handled,
		     struct error *err)
{
	int r = allow(ruleset, options->state_dir, RIGHTS_STATE & handled, 0, err);

	if (!r)
		r = allow_all(ruleset, options->writable, RIGHTS_STATE & handled, 0, err);
	if (!r)
		r = allow_all(ruleset, options->readable, RIGHTS_READ, 1, err);
	/* How much memory the monitor itself takes. */
	if (!r)
		r = allow(ruleset, "/proc/self", RIGHTS_READ, 1, err);
	return r;
}

static const char *missing(long version)
{
	if (version < 0)
		return "this kernel has no Landlock: files are guarded by permissions alone";
	if (version < 3)
		return "this kernel's Landlock is old (below version 3): it does not guard "
		       "truncate()";
	return NULL;
}

int sandbox_landlock_prepare(const struct sandbox_options *options, int *ret_fd,
			     const char **ret_notice, struct error *err)
{
	long version =
	    syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	struct ruleset ruleset = {0};
	int fd, r;

	*ret_fd = -1;
	*ret_notice = missing(version);
	if (version < 0)
		return 0;
	ruleset.handled_fs = rights_of_version(version);
	ruleset.scoped = version >= 6 ? SCOPE_ABSTRACT : 0;
	fd = (int)syscall(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0);
	if (fd < 0)
		return error_system(err, -errno, "sandbox: Landlock");
	r = add_rules(fd, options, ruleset.handled_fs, err);
	if (r < 0)
		close(fd);
	else
		*ret_fd = fd;
	return r;
}

int sandbox_landlock_enforce(int fd)
{
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}
