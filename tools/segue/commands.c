/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/commands.h"

#include <string.h>

const struct command *const commands[] = {
    &command_run,    &command_ls,      &command_show,    &command_console,    &command_pause,
    &command_resume, &command_stop,    &command_balloon, &command_receive,    &command_move,
    &command_cancel, &command_recover, &command_events,  &command_completion, NULL,
};

const struct option_spec global_options[] = {
    {"state-dir", "DIR", NULL, "where monitors keep sockets, journals and logs"},
    {"json", NULL, NULL, "print JSON, for scripts"},
    {"help", NULL, NULL, "explain; also after a command"},
    {"version", NULL, NULL, "print the version"},
    {NULL, NULL, NULL, NULL},
};

const struct command *command_find(const char *name)
{
	for (size_t i = 0; commands[i]; i++)
		if (!strcmp(commands[i]->name, name))
			return commands[i];
	return NULL;
}
