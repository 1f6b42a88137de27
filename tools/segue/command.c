/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/command.h"

#include <errno.h>
#include <string.h>

#include "proto/paths.h"
#include "proto/suggest.h"

const char *invocation_option(const struct invocation *invocation, const char *name)
{
	const struct option_spec *options = invocation->command->options;

	for (size_t i = 0; options && options[i].name; i++)
		if (!strcmp(options[i].name, name))
			return invocation->values[i];
	return NULL;
}

int invocation_state_dir(struct invocation *invocation, bool make, struct error *err)
{
	if (invocation->state_dir)
		return 0;
	return paths_state_dir(invocation->state_dir_option, make, &invocation->state_dir, err);
}

int invocation_connect(struct invocation *invocation, struct client **ret_client,
		       struct error *err)
{
	int r = invocation_state_dir(invocation, false, err);

	if (r == -ENOENT)
		error_prefix(err, "there is no guest \"%.64s\" here", invocation->operands[0]);
	if (r < 0)
		return r;
	return client_connect(invocation->state_dir, invocation->operands[0], ret_client, err);
}

static const struct option_spec *find_option(const struct option_spec *options,
					     const char *name, size_t len)
{
	for (; options && options->name; options++)
		if (!strncmp(options->name, name, len) && !options->name[len])
			return options;
	return NULL;
}

static int unknown_option(const struct command *command, const char *word, struct error *err)
{
	const char *names[2 * OPTIONS_MAX], *near;
	size_t n = 0;

	for (const struct option_spec *o = command->options; o && o->name; o++)
		names[n++] = o->name;
	for (const struct option_spec *o = global_options; o->name; o++)
		names[n++] = o->name;
	near = suggest(word + strspn(word, "-"), names, n);
	return error_set(err, -EINVAL, "%s: unknown option %s%s%s%s", command->name, word,
			 near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
}

/* VALUE must be one of the words that CHOICES holds between bars. */
static int check_choice(const struct command *command, const struct option_spec *option,
			const char *value, struct error *err)
{
	size_t len = strlen(value);
	const char *at = option->choices;

	for (; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
		if (len && !strncmp(at, value, len) && (at[len] == '|' || !at[len]))
			return 0;
	return error_set(err, -EINVAL, "%s: --%s is one of %s, not \"%s\"", command->name,
			 option->name, option->choices, value);
}

struct parse {
	const struct command *command;
	struct invocation *invocation;
	char **argv;
	int argc;
	int at;
	bool help;
	struct error *err;
};

/* The value after "=" or in the next word; NULL after an error. */
static const char *take_value(struct parse *p, const struct option_spec *option,
			      const char *equals)
{
	if (!option->argument) {
		if (!equals)
			return "";
		error_set(p->err, -EINVAL, "%s: --%s takes no value", p->command->name,
			  option->name);
		return NULL;
	}
	if (equals)
		return equals + 1;
	if (p->at + 1 < p->argc)
		return p->argv[++p->at];
	error_set(p->err, -EINVAL, "%s: --%s needs a value: --%s %s", p->command->name,
		  option->name, option->name, option->argument);
	return NULL;
}

static void set_global(struct parse *p, const char *name, const char *value)
{
	if (!strcmp(name, "state-dir"))
		p->invocation->state_dir_option = value;
	else if (!strcmp(name, "json"))
		p->invocation->json = true;
	else if (!strcmp(name, "help"))
		p->help = true;
}

static int take_option(struct parse *p)
{
	const char *word = p->argv[p->at], *name = word + 2, *value;
	const char *equals = strchr(name, '=');
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_spec *own = NULL, *global = NULL;

	if (!strcmp(word, "-h")) {
		p->help = true;
		return 0;
	}
	if (word[1] == '-') {
		own = find_option(p->command->options, name, len);
		global = find_option(global_options, name, len);
	}
	if (!own && !global)
		return unknown_option(p->command, word, p->err);
	value = take_value(p, own ? own : global, equals);
	if (!value)
		return -EINVAL;
	if (!own) {
		set_global(p, global->name, value);
		return 0;
	}
	if (own->choices && check_choice(p->command, own, value, p->err) < 0)
		return -EINVAL;
	p->invocation->values[own - p->command->options] = value;
	return 0;
}

static int take_operand(struct parse *p, size_t *n)
{
	if (*n == OPERANDS_MAX || p->command->operands[*n].kind == OPERAND_NONE)
		return error_set(p->err, -EINVAL, "%s: one word too many: \"%s\"",
				 p->command->name, p->argv[p->at]);
	p->invocation->operands[(*n)++] = p->argv[p->at];
	return 0;
}

int command_parse(const struct command *command, int argc, char **argv,
		  struct invocation *invocation, bool *ret_help, struct error *err)
{
	struct parse p = {.command = command,
			  .invocation = invocation,
			  .argv = argv,
			  .argc = argc,
			  .err = err};
	bool only_operands = false;
	size_t n = 0;
	int r = 0;

	invocation->command = command;
	for (; !r && p.at < argc; p.at++) {
		const char *word = argv[p.at];

		if (!only_operands && !strcmp(word, "--"))
			only_operands = true;
		else if (!only_operands && word[0] == '-' && word[1])
			r = take_option(&p);
		else
			r = take_operand(&p, &n);
	}
	*ret_help = p.help;
	if (!r && !p.help && n < OPERANDS_MAX && command->operands[n].kind != OPERAND_NONE)
		return error_set(err, -EINVAL, "%s: %s is missing", command->name,
				 command->operands[n].name);
	return p.help ? 0 : r;
}
