/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "migrate/switchover.h"

/*
 * The switchover table as JSON, for tests/integration/test_faults.py: it makes its cases of
 * what is compiled in, so that no state goes untested.
 */

static const char *truth(bool value)
{
	return value ? "true" : "false";
}

static void print_state(const struct switchover_state_info *info, const char *comma)
{
	printf("  {\"name\": \"%s\", \"side\": \"%s\", \"may_run\": %s, \"may_return\": %s, "
	       "\"end\": %s}%s\n",
	       info->name, info->side == SW_SOURCE ? "source" : "destination",
	       truth(info->may_run), truth(info->may_return), truth(info->end), comma);
}

static void print_row(const struct switchover_transition *row, const char *comma)
{
	printf("  {\"from\": \"%s\", \"event\": \"%s\", \"to\": \"%s\"}%s\n",
	       switchover_info(row->from)->name, switchover_event_name(row->event),
	       switchover_info(row->to)->name, comma);
}

int main(void)
{
	const struct switchover_transition *row = switchover_table();

#ifdef SEGUE_FAULT_POINTS
	puts("{\"fault_points\": true,");
#else
	puts("{\"fault_points\": false,");
#endif
	puts("\"states\": [");
	for (int i = 0; i < SW_STATES; i++)
		print_state(switchover_info((enum switchover_state)i),
			    i + 1 < SW_STATES ? "," : "");
	puts("],\n\"rows\": [");
	for (; row->from != SW_STATES; row++)
		print_row(row, row[1].from != SW_STATES ? "," : "");
	puts("]}");
	return ferror(stdout) || fflush(stdout);
}
