/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_COMMANDS_H
#define TOOLS_SEGUE_COMMANDS_H

#include "tools/segue/command.h"

/* Each is in the file of its group, cmd_*.c. */
extern const struct command command_run, command_receive;
extern const struct command command_ls, command_show;
extern const struct command command_console;
extern const struct command command_pause, command_resume, command_stop, command_balloon;
extern const struct command command_move, command_cancel, command_recover;
extern const struct command command_events;
extern const struct command command_completion;

#endif
