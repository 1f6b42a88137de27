/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_MOVE_REQUEST_H
#define TOOLS_SEGUE_MOVE_REQUEST_H

#include "tools/segue/command.h"

/*
 * What the options of "segue move" ask for, into an initialised request; its strings are
 * the invocation's. Everything but where to, and the recording.
 */
int move_request_parse(const struct invocation *invocation, Segue__MoveRequest *request,
		       struct error *err);

/*
 * The directory to record in: below the state directory if not absolute. Made here, as the
 * monitor may not be able to; free() it. Left alone where none was asked for.
 */
int move_request_record(const struct invocation *invocation, char **ret_path,
			struct error *err);

#endif
