/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/buffer.h"
#include "vmm/config_check.h"
#include "vmm/config_schema.h"
#include "vmm/config_where.h"

void config_free(Segue__Guest *guest)
{
	if (guest)
		segue__guest__free_unpacked(guest, NULL);
}

/* What comes before the last slash of NAME, "" without one; for free(). */
static char *directory_of(const char *name)
{
	const char *slash = strrchr(name, '/');

	if (!slash)
		return strdup("");
	return slash == name ? strdup("/") : strndup(name, (size_t)(slash - name));
}

static int build(const struct config_file *file, const struct config_where *where,
		 const char *name, Segue__Guest **ret_guest, struct error *err)
{
	char *dir = directory_of(name);
	Segue__Guest *guest = malloc(sizeof(*guest));
	int r;

	if (!dir || !guest) {
		free(guest);
		r = error_set(err, -ENOMEM, "%s: out of memory", name);
		goto out;
	}
	segue__guest__init(guest);
	r = config_check(file, where, dir, guest, err);
	if (r < 0)
		config_free(guest);
	else
		*ret_guest = guest;
out:
	free(dir);
	return r;
}

/* Else "it ends here" and "a NUL is in it" could not be told apart further down. */
static int check_text(const char *data, size_t len, const char *name, struct error *err)
{
	if (len > CONFIG_FILE_MAX)
		return error_set(err, -EFBIG, "%s: longer than %u KiB", name,
				 CONFIG_FILE_MAX >> 10);
	if (memchr(data, '\0', len))
		return error_set(err, -EINVAL, "%s: not a text file", name);
	return 0;
}

int config_parse(const char *data, size_t len, const char *name, Segue__Guest **ret_guest,
		 struct error *err)
{
	struct config_where *where = NULL;
	struct config_file *file = NULL;
	int r;

	r = check_text(data, len, name, err);
	if (!r)
		r = config_where_new(data, len, name, &config_schema, &where, err);
	if (!r)
		r = config_schema_load(data, len, name, &file, err);
	if (!r)
		r = build(file, where, name, ret_guest, err);
	config_schema_free(file);
	config_where_free(where);
	return r;
}

static int read_all(int fd, struct buffer *buf)
{
	for (;;) {
		uint8_t *to = buffer_reserve(buf, 4096);
		ssize_t n;

		if (!to)
			return -ENOMEM;
		n = read(fd, to, 4096);
		if (n < 0)
			return -errno;
		buf->len += (size_t)n;
		if (!n || buf->len > CONFIG_FILE_MAX)
			return 0;
	}
}

int config_load(const char *path, Segue__Guest **ret_guest, struct error *err)
{
	struct buffer text = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r;

	if (fd < 0)
		return error_system(err, -errno, "%s", path);
	r = read_all(fd, &text);
	if (r < 0)
		error_system(err, r, "%s", path);
	else
		r = config_parse(text.len ? (char *)text.data : "", text.len, path, ret_guest,
				 err);
	buffer_done(&text);
	close(fd);
	return r;
}
