/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_COMPLETION_ZSH_H
#define TOOLS_COMPLETION_ZSH_H

#include <stdio.h>

/* A zsh function that completes what the command table holds. */
void completion_zsh(FILE *to);

#endif
