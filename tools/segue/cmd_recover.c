/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "tools/segue/commands.h"
#include "tools/segue/output.h"
#include "tools/segue/simple.h"

static enum exit_code run_cancel(struct invocation *invocation)
{
	Segue__MoveCancelRequest cancel = SEGUE__MOVE_CANCEL_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;

	request.of_case = SEGUE__REQUEST__OF_MOVE_CANCEL;
	request.move_cancel = &cancel;
	return simple_call(invocation, &request, "stays: its move is being cancelled");
}

static enum exit_code run_recover(struct invocation *invocation)
{
	bool here = invocation_option(invocation, "here");
	bool gone = invocation_option(invocation, "gone");
	Segue__RecoverRequest recover = SEGUE__RECOVER_REQUEST__INIT;
	Segue__Request request = SEGUE__REQUEST__INIT;
	struct error err = {0};

	if (here == gone) {
		error_set(&err, -EINVAL, "recover: say --here or --gone");
		return output_failure(invocation, &err);
	}
	recover.outcome = here ? SEGUE__RECOVER_REQUEST__OUTCOME__HERE
			       : SEGUE__RECOVER_REQUEST__OUTCOME__GONE;
	request.of_case = SEGUE__REQUEST__OF_RECOVER;
	request.recover = &recover;
	return simple_call(invocation, &request, here ? "goes on here" : "given up here");
}

const struct command command_cancel = {
    .name = "cancel",
    .summary = "cancel a move under way",
    .description =
	"The guest stays where it is, running. A move that has passed the point of commitment\n"
	"can no longer be cancelled; then this fails.\n",
    .examples = "  segue cancel web1\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .run = run_cancel,
};

static const struct option_spec recover_options[] = {
    {"here", NULL, NULL, "it does not run there and never will: go on here"},
    {"gone", NULL, NULL, "it runs there: give it up here"},
    {NULL, NULL, NULL, NULL},
};

const struct command command_recover = {
    .name = "recover",
    .summary = "decide about a guest in doubt",
    .description =
	"A guest is in doubt when the connection broke after the source had handed it over\n"
	"and before it heard that the destination took it. It then stands still here, so that\n"
	"it never runs twice. The monitor goes on asking; only when the destination will not\n"
	"come back has somebody to decide.\n\n"
	"  1. \"segue show NAME\" here says which destination it is.\n"
	"  2. There, \"segue ls\": is the guest running?\n"
	"  3. If it is: --gone. If that host is off for good, or its monitor was stopped\n"
	"     without the guest ever running: --here.\n\n"
	"--here while the guest runs there makes two of it, which ruins its disks.\n",
    .examples = "  segue show web1\n  segue recover web1 --gone\n",
    .operands = {{OPERAND_GUEST, "NAME"}},
    .options = recover_options,
    .run = run_recover,
};
