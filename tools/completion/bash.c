/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/completion/bash.h"

#include "tools/segue/command.h"

static void print_options(FILE *to, const struct option_spec *options)
{
	for (; options && options->name; options++)
		fprintf(to, " --%s", options->name);
}

/* What may follow an option that takes a value. */
static void print_values(FILE *to, const struct command *command)
{
	for (const struct option_spec *o = command->options; o && o->name; o++) {
		if (!o->argument)
			continue;
		fprintf(to, "\t%s:--%s)", command->name, o->name);
		if (o->choices) {
			fprintf(to, " COMPREPLY=($(compgen -W '");
			for (const char *c = o->choices; *c; c++)
				fputc(*c == '|' ? ' ' : *c, to);
			fprintf(to, "' -- \"$cur\"));");
		}
		fprintf(to, " return ;;\n");
	}
}

static void print_command(FILE *to, const struct command *command)
{
	static const char *const operands[] = {
	    [OPERAND_NONE] = "",
	    [OPERAND_GUEST] = "guests=1",
	    [OPERAND_FILE] = "files=1",
	    [OPERAND_WORD] = "",
	};
	const char *first = operands[command->operands[0].kind];

	fprintf(to, "\t%s) words='", command->name);
	print_options(to, command->options);
	print_options(to, global_options);
	fprintf(to, "'%s%s ;;\n", *first ? "; " : "", first);
}

void completion_bash(FILE *to)
{
	fprintf(to, "# bash completion for segue; made by \"segue completion bash\"\n"
		    "_segue() {\n"
		    "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
		    "\tlocal i command= words= guests= files=\n"
		    "\tCOMPREPLY=()\n"
		    "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
		    "\t\tcase ${COMP_WORDS[i]} in\n"
		    "\t\t--state-dir) ((i++)) ;;\n"
		    "\t\t-*) ;;\n"
		    "\t\t*) command=${COMP_WORDS[i]}; break ;;\n"
		    "\t\tesac\n"
		    "\tdone\n"
		    "\tif [[ $prev == --state-dir ]]; then\n"
		    "\t\tCOMPREPLY=($(compgen -d -- \"$cur\")); return\n"
		    "\tfi\n"
		    "\tcase $command:$prev in\n");
	for (size_t i = 0; commands[i]; i++)
		print_values(to, commands[i]);
	fprintf(to, "\tesac\n\tcase $command in\n\t'') words='");
	for (size_t i = 0; commands[i]; i++)
		fprintf(to, "%s ", commands[i]->name);
	print_options(to, global_options);
	fprintf(to, "' ;;\n");
	for (size_t i = 0; commands[i]; i++)
		print_command(to, commands[i]);
	fprintf(
	    to,
	    "\tesac\n"
	    "\tif [[ $guests && $cur != -* ]]; then\n"
	    "\t\twords=$(segue ls --json 2>/dev/null |\n"
	    "\t\t\tsed -n 's/^ \\{4\\}\"name\": \"\\(.*\\)\".*/\\1/p')\n"
	    "\tfi\n"
	    "\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	    "\tif [[ $files && $cur != -* ]]; then\n"
	    "\t\tCOMPREPLY=($(compgen -f -X '!*.y*ml' -- \"$cur\") $(compgen -d -- \"$cur\"))\n"
	    "\tfi\n"
	    "}\n"
	    "complete -o filenames -F _segue segue\n");
}
