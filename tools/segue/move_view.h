/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TOOLS_SEGUE_MOVE_VIEW_H
#define TOOLS_SEGUE_MOVE_VIEW_H

#include <stdbool.h>

#include "control.pb-c.h"

/* What a person sees of a move: on a terminal one line redrawn, else a line a round. */
struct move_view {
	bool terminal;
	bool quiet;
	bool drawn;
	uint32_t round; /* last told of, where lines are printed */
};

void move_view_init(struct move_view *view, bool quiet);
void move_view_progress(struct move_view *view, const Segue__Progress *progress);
void move_view_clear(struct move_view *view); /* before anything else is printed */

/* How it went, on stdout. */
void move_view_moved(const char *name, const char *to, const Segue__Progress *progress);
void move_view_predicted(const char *name, const Segue__Progress *progress);

/* How far the round is, 0 to 100. */
unsigned move_view_percent(const Segue__Progress *progress);

#endif
