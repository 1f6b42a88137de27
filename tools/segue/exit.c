/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/exit.h"

#include <errno.h>

const char *const exit_words[EXIT_CODES] = {
    [EXIT_OK] = "done",
    [EXIT_FAILED] = "failed; a guest that was to move still runs where it was",
    [EXIT_USAGE] = "the command line or the guest's file is wrong; nothing was done",
    [EXIT_NO_GUEST] = "no such guest here, or its monitor is gone",
    [EXIT_CANCELLED] = "cancelled; the guest stayed where it was",
    [EXIT_IN_DOUBT] = "in doubt: the guest stands still until \"segue recover\" is told where "
		      "it runs",
    [EXIT_REFUSED] = "the destination refused the guest, or nobody listens there; it stayed",
    [EXIT_LATE] =
	"not done in time: the guest has not stopped, or does not converge and stayed",
};

enum exit_code exit_code_of(int code)
{
	switch (code) {
	case 0:
		return EXIT_OK;
	case -EINVAL:
		return EXIT_USAGE;
	case -ENOENT:
	case -ECONNREFUSED:
		return EXIT_NO_GUEST;
	case -ECANCELED:
	case -EINTR:
		return EXIT_CANCELLED;
	case -ETIMEDOUT:
	case -ETIME:
		return EXIT_LATE;
	default:
		return EXIT_FAILED;
	}
}

enum exit_code exit_code_of_answer(int code)
{
	switch (code) {
	case -EINVAL:
	case -ENOENT:
	case -ECONNREFUSED:
		return EXIT_FAILED;
	case -EPIPE:
		return EXIT_NO_GUEST;
	default:
		return exit_code_of(code);
	}
}
