/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_CONTROL_SOCKET_H
#define VMM_CONTROL_SOCKET_H

#include <uv.h>

#include "proto/error.h"

/*
 * Binds LISTENER (initialised, not yet bound) at PATH with mode 0600 and listens. A socket
 * file nobody listens on is replaced; -EADDRINUSE when somebody does. Loop thread.
 */
int control_socket_listen(uv_pipe_t *listener, const char *path, uv_connection_cb accept,
			  struct error *err);

#endif
