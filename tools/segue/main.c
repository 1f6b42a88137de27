/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/suggest.h"
#include "tools/segue/command.h"
#include "tools/segue/help.h"
#include "tools/segue/output.h"

static int usage(const char *format, const char *word, const char *near)
{
	fprintf(stderr, "segue: ");
	fprintf(stderr, format, word);
	if (near)
		fprintf(stderr, "; did you mean \"%s\"?", near);
	fprintf(stderr, "\n\"segue --help\" lists what there is.\n");
	return EXIT_USAGE;
}

static int unknown_command(const char *word)
{
	const char *names[64];
	size_t n = 0;

	for (; commands[n] && n < 64; n++)
		names[n] = commands[n]->name;
	return usage("unknown command \"%s\"", word, suggest(word, names, n));
}

static int run_command(const char *word, int argc, char **argv, struct invocation *invocation)
{
	const struct command *command = command_find(word);
	struct error err = {0};
	bool help = false;
	int code;

	if (!command)
		return unknown_command(word);
	if (command_parse(command, argc, argv, invocation, &help, &err) < 0) {
		output_error(invocation, &err, EXIT_USAGE);
		fprintf(stderr, "\"segue %s --help\" explains it.\n", command->name);
		return EXIT_USAGE;
	}
	if (help) {
		help_command(stdout, command);
		return EXIT_OK;
	}
	code = (int)command->run(invocation);
	free(invocation->state_dir);
	/* A script must not take a full disk for success. */
	if (fflush(stdout) || ferror(stdout)) {
		perror("segue: standard output");
		return EXIT_FAILED;
	}
	return code;
}

/* "segue help move" is what many try first. */
static int help(int argc, char **argv)
{
	const struct command *command = argc > 0 ? command_find(argv[0]) : NULL;

	if (argc > 0 && !command)
		return unknown_command(argv[0]);
	if (command)
		help_command(stdout, command);
	else
		help_program(stdout);
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	struct invocation invocation = {.program = argv[0]};
	int i = 1;

	signal(SIGPIPE, SIG_DFL);
	for (; i < argc && argv[i][0] == '-'; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return help(argc - i - 1, argv + i + 1);
		if (!strcmp(argv[i], "--version")) {
			printf("segue %s\n", SEGUE_VERSION);
			return EXIT_OK;
		}
		if (!strcmp(argv[i], "--json"))
			invocation.json = true;
		else if (!strncmp(argv[i], "--state-dir=", 12))
			invocation.state_dir_option = argv[i] + 12;
		else if (!strcmp(argv[i], "--state-dir") && i + 1 < argc)
			invocation.state_dir_option = argv[++i];
		else
			return usage("unknown option %s", argv[i], NULL);
	}
	if (i == argc) {
		help_program(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[i], "help"))
		return help(argc - i - 1, argv + i + 1);
	return run_command(argv[i], argc - i - 1, argv + i + 1, &invocation);
}
