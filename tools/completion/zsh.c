/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/completion/zsh.h"

#include "tools/segue/command.h"

/* Inside '...[help]': brackets, colons and quotes would end it. */
static void print_quoted(FILE *to, const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			fprintf(to, "'\\''");
		else if (*text == '[' || *text == ']' || *text == ':')
			fprintf(to, "\\%c", *text);
		else
			fputc(*text, to);
	}
}

static void print_option(FILE *to, const struct option_spec *option)
{
	fprintf(to, " '--%s%s[", option->name, option->argument ? "=" : "");
	print_quoted(to, option->help);
	fprintf(to, "]");
	if (option->argument) {
		fprintf(to, ":%s:", option->argument);
		if (option->choices) {
			fputc('(', to);
			for (const char *c = option->choices; *c; c++)
				fputc(*c == '|' ? ' ' : *c, to);
			fputc(')', to);
		}
	}
	fprintf(to, "'");
}

static void print_options(FILE *to, const struct option_spec *options)
{
	for (; options && options->name; options++)
		print_option(to, options);
}

static void print_operands(FILE *to, const struct command *command)
{
	for (size_t i = 0; command->operands[i].kind != OPERAND_NONE; i++) {
		const char *action = "";

		if (command->operands[i].kind == OPERAND_GUEST)
			action = "_segue_guests";
		else if (command->operands[i].kind == OPERAND_FILE)
			action = "_files -g \"*.y(a|)ml\"";
		fprintf(to, " '%zu:%s:%s'", i + 1, command->operands[i].name, action);
	}
}

void completion_zsh(FILE *to)
{
	fprintf(to, "#compdef segue\n# made by \"segue completion zsh\"\n"
		    "_segue_guests() {\n"
		    "\tlocal -a guests\n"
		    "\tguests=(${(f)\"$(segue ls --json 2>/dev/null |\n"
		    "\t\tsed -n 's/^ \\{4\\}\"name\": \"\\(.*\\)\".*/\\1/p')\"})\n"
		    "\tcompadd -a guests\n"
		    "}\n"
		    "_segue_commands() {\n\tlocal -a commands\n\tcommands=(\n");
	for (size_t i = 0; commands[i]; i++) {
		fprintf(to, "\t\t'%s:", commands[i]->name);
		print_quoted(to, commands[i]->summary);
		fprintf(to, "'\n");
	}
	fprintf(to, "\t)\n\t_describe command commands\n}\n"
		    "_segue() {\n"
		    "\tlocal context state state_descr line\n"
		    "\ttypeset -A opt_args\n"
		    "\t_arguments -C");
	print_options(to, global_options);
	fprintf(to, " '1:command:_segue_commands' '*::argument:->rest'\n"
		    "\t[[ $state == rest ]] || return\n"
		    "\tcase $words[1] in\n");
	for (size_t i = 0; commands[i]; i++) {
		fprintf(to, "\t%s) _arguments", commands[i]->name);
		print_options(to, commands[i]->options);
		print_options(to, global_options);
		print_operands(to, commands[i]);
		fprintf(to, " ;;\n");
	}
	fprintf(to, "\tesac\n}\n_segue \"$@\"\n");
}
