/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_COMMAND_H
#define TOOLS_SEGUE_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/error.h"
#include "tools/segue/client.h"
#include "tools/segue/exit.h"

/*
 * A command is described once, next to its code; parsing, help, completion and the check
 * of the manual page are made from the descriptions.
 */
#define OPTIONS_MAX  16u
#define OPERANDS_MAX 2u

struct option_spec {
	const char *name;     /* without the dashes; NULL ends a list */
	const char *argument; /* what to call its value; NULL: it takes none */
	const char *choices;  /* "a|b|c" when only these will do */
	const char *help;
};

enum operand_kind { OPERAND_NONE, OPERAND_GUEST, OPERAND_FILE, OPERAND_WORD };

struct operand_spec {
	enum operand_kind kind; /* OPERAND_NONE ends a list */
	const char *name;
};

struct invocation;

struct command {
	const char *name;
	const char *summary;     /* one line, lower case */
	const char *description; /* paragraphs for --help */
	const char *examples;    /* lines for --help */
	struct operand_spec operands[OPERANDS_MAX + 1];
	const struct option_spec *options;
	enum exit_code (*run)(struct invocation *invocation);
};

/* A command as it was called. */
struct invocation {
	const struct command *command;
	const char *program; /* argv[0] */
	const char *operands[OPERANDS_MAX];
	const char
	    *values[OPTIONS_MAX];     /* as command->options: NULL, "" for a flag, the value */
	const char *state_dir_option; /* as given */
	char *state_dir;              /* see invocation_state_dir() */
	bool json;
};

extern const struct command *const commands[]; /* in the order help lists them; NULL ends */
extern const struct option_spec global_options[];

const struct command *command_find(const char *name);

/* The value of option NAME: NULL when not given, "" for a flag that is. */
const char *invocation_option(const struct invocation *invocation, const char *name);

/* Finds the state directory once, making it when asked to. */
int invocation_state_dir(struct invocation *invocation, bool make, struct error *err);

/* State directory and connection to the guest that is the first operand. */
int invocation_connect(struct invocation *invocation, struct client **ret_client,
		       struct error *err);

/*
 * Fills *INVOCATION from the words after the command's name. On failure the error is what
 * the user is told; -EINVAL. *ret_help is set when --help is among them.
 */
int command_parse(const struct command *command, int argc, char **argv,
		  struct invocation *invocation, bool *ret_help, struct error *err);

#endif
