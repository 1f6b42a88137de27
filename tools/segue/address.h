/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_ADDRESS_H
#define TOOLS_SEGUE_ADDRESS_H

#include <stdbool.h>

#include "proto/error.h"

#define ADDRESS_MAX 80u

/*
 * HOST:PORT or [HOST]:PORT, looked up here: a monitor in its sandbox has no files and no
 * UDP to look names up with. For LISTENing the host may be left out, meaning all. Writes
 * "1.2.3.4:5" or "[::1]:5" to BUF of ADDRESS_MAX bytes.
 */
int address_resolve(const char *text, bool listen, char *buf, struct error *err);

#endif
