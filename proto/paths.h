/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROTO_PATHS_H
#define PROTO_PATHS_H

#include <stdbool.h>

#include "proto/error.h"

/*
 * Where monitors keep their sockets, journals and logs, and how these are called:
 * NAME.sock, NAME.journal, NAME.log in one state directory.
 */
#define PATHS_SOCKET   ".sock"
#define PATHS_JOURNAL  ".journal"
#define PATHS_LOG      ".log"
#define PATHS_NAME_MAX 63u

/*
 * The state directory: OPTION (of --state-dir, may be NULL), else $SEGUE_STATE_DIR, else
 * $XDG_RUNTIME_DIR/segue, else /run/segue for root, else /tmp/segue-UID. With MAKE it is
 * made, mode 0700, when missing. Refused when another user owns it or could write to it:
 * who may write there may take over guests. The result is absolute; free() it.
 */
int paths_state_dir(const char *option, bool make, char **ret_dir, struct error *err);

/* DIR/NAME SUFFIX, for free(); NULL when memory is short. */
char *paths_join(const char *dir, const char *name, const char *suffix);

/* As paths_join() for the socket; -ENAMETOOLONG when a socket address cannot hold it. */
int paths_socket(const char *dir, const char *name, char **ret_path, struct error *err);

/* A guest's name: [a-z0-9][a-z0-9-]{0,62}. It becomes part of file names. */
bool paths_name_valid(const char *name);

#endif
