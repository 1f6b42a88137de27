/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/help.h"

#include <string.h>

#define COLUMN 26 /* where explanations begin */

static void print_options(FILE *to, const struct option_spec *options)
{
	for (; options && options->name; options++) {
		char left[64];
		const char *value = options->choices ? options->choices : options->argument;

		snprintf(left, sizeof(left), "  --%s%s%s", options->name, value ? " " : "",
			 value ? value : "");
		if (strlen(left) < COLUMN)
			fprintf(to, "%-*s%s\n", COLUMN, left, options->help);
		else
			fprintf(to, "%s\n%*s%s\n", left, COLUMN, "", options->help);
	}
}

static void print_exit_codes(FILE *to)
{
	fprintf(to, "\nExit codes:\n");
	for (int i = 0; i < EXIT_CODES; i++)
		fprintf(to, "  %d  %s\n", i, exit_words[i]);
}

static void print_operands(FILE *to, const struct command *command)
{
	for (size_t i = 0; command->operands[i].kind != OPERAND_NONE; i++)
		fprintf(to, " %s", command->operands[i].name);
}

void help_command(FILE *to, const struct command *command)
{
	fprintf(to, "segue %s - %s\n\nUsage: segue %s", command->name, command->summary,
		command->name);
	print_operands(to, command);
	fprintf(to, "%s\n\n%s", command->options ? " [OPTION...]" : "", command->description);
	if (command->options)
		fprintf(to, "\nOptions:\n");
	print_options(to, command->options);
	fprintf(to, "\nOptions of every command:\n");
	print_options(to, global_options);
	if (command->examples)
		fprintf(to, "\nExamples:\n%s", command->examples);
	print_exit_codes(to);
}

void help_program(FILE *to)
{
	fprintf(to, "segue - run virtual machines, and move them while they run\n\n"
		    "Usage: segue [OPTION...] COMMAND [ARGUMENT...]\n\nCommands:\n");
	for (size_t i = 0; commands[i]; i++)
		fprintf(to, "  %-12s%s\n", commands[i]->name, commands[i]->summary);
	fprintf(to, "\nOptions:\n");
	print_options(to, global_options);
	fprintf(to,
		"\nExamples:\n"
		"  segue run web1.yaml                       start a guest\n"
		"  segue console web1                        talk to it; Ctrl-] leaves\n"
		"  segue receive web1.yaml --listen :7000    on the other host: wait for it\n"
		"  segue move web1 --to other:7000           move it there, running\n"
		"\n\"segue COMMAND --help\" explains a command.\n");
	print_exit_codes(to);
}
