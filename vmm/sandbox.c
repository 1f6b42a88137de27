/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/sandbox_internal.h"

#define MAX_FILES 1024u

static const char *notice;

const char *sandbox_notice(void)
{
	return notice;
}

/* A core holds the guest's memory; it must not land on a disk by accident. */
static int limit(unsigned max_files, struct error *err)
{
	const struct rlimit core = {0, 0};
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_CORE, &core) < 0)
		return error_system(err, -errno, "sandbox: limits");
	if (!max_files)
		max_files = MAX_FILES;
	if (files.rlim_max == RLIM_INFINITY || files.rlim_max > max_files)
		files.rlim_max = max_files;
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return error_system(err, -errno, "sandbox: limits");
	return 0;
}

/*
 * By system call, not through a library: this also runs in a signal handler on threads
 * that exist already. The bounding set may stay, as nothing can be executed any more.
 */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {0};

	/* -EINVAL where the kernel has no ambient set; then nothing is in it. */
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int bind_this_thread(const void *context)
{
	const int *landlock_fd = context;
	int r;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = drop_capabilities();
	if (!r && *landlock_fd >= 0)
		r = sandbox_landlock_enforce(*landlock_fd);
	return r;
}

int sandbox_enter(const struct sandbox_options *options, struct error *err)
{
	int landlock_fd, r;

	r = limit(options->max_files, err);
	if (!r)
		r = sandbox_landlock_prepare(options, &landlock_fd, &notice, err);
	if (r < 0)
		return r;
	r = sandbox_on_threads(bind_this_thread, &landlock_fd, err);
	if (landlock_fd >= 0)
		close(landlock_fd);
	return r < 0 ? r : sandbox_seccomp(options, err);
}
