/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

bool paths_name_valid(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return len && len <= PATHS_NAME_MAX && !name[len] && name[0] != '-';
}

char *paths_join(const char *dir, const char *name, const char *suffix)
{
	char *path;

	return asprintf(&path, "%s/%s%s", dir, name, suffix) < 0 ? NULL : path;
}

int paths_socket(const char *dir, const char *name, char **ret_path, struct error *err)
{
	char *path = paths_join(dir, name, PATHS_SOCKET);

	if (!path)
		return error_set(err, -ENOMEM, "out of memory");
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		error_set(err, -ENAMETOOLONG,
			  "%s: longer than the %zu bytes a socket's address can hold; choose a "
			  "shorter state directory",
			  path, sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
		free(path);
		return -ENAMETOOLONG;
	}
	*ret_path = path;
	return 0;
}

/* The name alone, not yet made; NULL when memory is short. */
static char *choose(const char *option)
{
	const char *env = getenv("SEGUE_STATE_DIR");
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char *dir;
	int r;

	if (option && *option)
		r = asprintf(&dir, "%s", option);
	else if (env && *env)
		r = asprintf(&dir, "%s", env);
	else if (runtime && *runtime == '/')
		r = asprintf(&dir, "%s/segue", runtime);
	else if (!geteuid())
		r = asprintf(&dir, "/run/segue");
	else
		r = asprintf(&dir, "/tmp/segue-%u", (unsigned)geteuid());
	return r < 0 ? NULL : dir;
}

static int check(const char *dir, struct error *err)
{
	struct stat st;

	/* A link planted in /tmp by somebody else must not lead us, not even to our own. */
	if (!lstat(dir, &st) && S_ISLNK(st.st_mode) && st.st_uid && st.st_uid != geteuid())
		return error_set(err, -EPERM, "state directory %s: a link of user %u's", dir,
				 (unsigned)st.st_uid);
	if (stat(dir, &st) < 0)
		return error_system(err, -errno, "state directory %s", dir);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, -ENOTDIR, "state directory %s: not a directory", dir);
	if (st.st_uid != geteuid())
		return error_set(err, -EPERM,
				 "state directory %s: belongs to user %u, not to you", dir,
				 (unsigned)st.st_uid);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return error_set(err, -EPERM,
				 "state directory %s: others may write to it; chmod go-w it",
				 dir);
	return 0;
}

int paths_state_dir(const char *option, bool make, char **ret_dir, struct error *err)
{
	char *dir = choose(option), *real;
	int r;

	if (!dir)
		return error_set(err, -ENOMEM, "out of memory");
	if (make && mkdir(dir, 0700) < 0 && errno != EEXIST) {
		r = error_system(err, -errno, "cannot make state directory %s", dir);
		free(dir);
		return r;
	}
	r = check(dir, err);
	if (!r) {
		real = realpath(dir, NULL);
		if (real)
			*ret_dir = real;
		else
			r = error_system(err, -errno, "state directory %s", dir);
	}
	free(dir);
	return r;
}
