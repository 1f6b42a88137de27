/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over files and directories of files (one level), as an ordinary test.
 * Where there is a fuzzer, it brings a main of its own and this file is not linked.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned files;

static void fail(const char *path)
{
	fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
	exit(1);
}

static void replay_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(size ? size : 1); /* exact, so that ASan sees any overrun */

	if (!file || !data || fread(data, 1, size, file) != size)
		fail(path);
	fclose(file);
	fprintf(stderr, "replay: %s\n", path); /* names the culprit if the next line dies */
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	files++;
}

static void replay_directory(const char *path);

static void replay_path(const char *path, int depth)
{
	struct stat st;

	if (stat(path, &st) < 0)
		fail(path);
	if (S_ISREG(st.st_mode))
		replay_file(path, (size_t)st.st_size);
	else if (S_ISDIR(st.st_mode) && depth == 0)
		replay_directory(path);
}

static void replay_directory(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	if (!directory)
		fail(path);
	while ((entry = readdir(directory))) {
		char inner[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		replay_path(inner, 1);
	}
	closedir(directory);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay_path(argv[i], 0);
	printf("replayed %u files\n", files);
	return files == 0;
}
