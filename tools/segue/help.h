/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_HELP_H
#define TOOLS_SEGUE_HELP_H

#include <stdio.h>

#include "tools/segue/command.h"

/* The whole program, or one command of it. */
void help_program(FILE *to);
void help_command(FILE *to, const struct command *command);

#endif
