/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_SIMPLE_H
#define TOOLS_SEGUE_SIMPLE_H

#include "tools/segue/command.h"

/* Says that something is done: "web1 DONE", or {"name": ..., "done": ...}. */
enum exit_code simple_say(const struct invocation *invocation, const char *done);

/* One request to the guest that is the first operand, answered by yes or no. */
enum exit_code simple_call(struct invocation *invocation, Segue__Request *request,
			   const char *done);

#endif
