/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_COMPLETION_BASH_H
#define TOOLS_COMPLETION_BASH_H

#include <stdio.h>

/* A bash script that completes what the command table holds. */
void completion_bash(FILE *to);

#endif
