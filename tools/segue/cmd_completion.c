/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tools/completion/bash.h"
#include "tools/completion/zsh.h"
#include "tools/segue/commands.h"
#include "tools/segue/output.h"

static enum exit_code run_completion(struct invocation *invocation)
{
	struct error err = {0};

	if (!strcmp(invocation->operands[0], "bash")) {
		completion_bash(stdout);
		return EXIT_OK;
	}
	if (!strcmp(invocation->operands[0], "zsh")) {
		completion_zsh(stdout);
		return EXIT_OK;
	}
	error_set(&err, -EINVAL, "completion: bash or zsh, not \"%s\"",
		  invocation->operands[0]);
	return output_failure(invocation, &err);
}

const struct command command_completion = {
    .name = "completion",
    .summary = "print completions for bash or zsh",
    .description = "To be read by the shell. Guests' names are asked for when completing.\n",
    .examples = "  source <(segue completion bash)\n"
		"  segue completion zsh > ~/.zfunc/_segue\n",
    .operands = {{OPERAND_WORD, "SHELL"}},
    .run = run_completion,
};
