/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MIGRATE_SWITCHOVER_H
#define MIGRATE_SWITCHOVER_H

#include <stdbool.h>

/*
 * Who may run the guest, as a table. Pure: no I/O, no clock. The sender, the receiver and
 * the tests of every failure are driven by it; docs/switchover.md explains it in words.
 *
 * Invariant: at every instant at most one monitor may run the guest, and after any single
 * failure at least one can be resumed without loss. It follows from three columns below:
 * of a pair of reachable states at most one `may_run`; a source may go back by itself only
 * from a state with `may_return`, and never has GRANT been written in one of those; a
 * destination enters SW_TAKEN only by GRANT.
 */
enum switchover_state {
	/* source */
	SW_CONNECTING, /* contract shown, nothing sent */
	SW_PRECOPY,    /* guest runs, rounds go out */
	SW_DRAINING,   /* guest paused; last round and state go out */
	SW_OFFERED,    /* all is out; waiting for READY */
	SW_GRANTED,    /* journal says ceded; waiting for RESUMED */
	SW_ASKING,     /* connection lost after GRANT; asking the destination for its journal */
	SW_DOUBT,      /* no answer: paused until an answer or the operator comes */
	SW_MOVED,      /* end: the guest is the destination's */
	SW_KEPT,       /* end: the guest runs here */
	/* destination */
	SW_LISTENING,  /* no source yet */
	SW_TAKING,     /* pages come in */
	SW_LOADING,    /* last page is here; state is being taken in */
	SW_PROMISED,   /* READY is out; waiting for GRANT */
	SW_TAKEN,      /* journal says ours; about to resume */
	SW_RUNNING,    /* end: the guest runs here */
	SW_REFUSED,    /* journal says never: the grant will not be taken any more */
	SW_DROPPED,    /* end: nothing was promised */
	SW_STATES
};

enum switchover_event {
	SW_EV_ACCEPTED,   /* WELCOME came, data connections are up / a source's HELLO was good */
	SW_EV_PAUSE,      /* the planner says now */
	SW_EV_SENT,       /* FINISH is out / FINISH is in */
	SW_EV_READY,      /* READY came, and the grant is in our journal / state is loaded */
	SW_EV_GRANT,      /* the grant came and is in our journal */
	SW_EV_RESUMED,    /* RESUMED came / the guest runs */
	SW_EV_FAILED,     /* an error, a cut, a time-out, the peer's ABORT */
	SW_EV_CANCEL,     /* the operator's wish */
	SW_EV_ASKED,      /* QUERY came */
	SW_EV_COMMITTED,  /* ANSWER: the destination has it; or the operator says so */
	SW_EV_NEVER,      /* ANSWER: the destination will never take it; or the operator says so */
	SW_EV_SILENCE,    /* asking led to nothing for as long as we ask in the foreground */
	SW_EVENTS
};

enum switchover_side { SW_SOURCE, SW_DESTINATION };

/* What must be done, and have succeeded, before the new state counts as entered. */
enum switchover_duty {
	SW_NOTHING,
	SW_RESUME_HERE,   /* let the guest run here */
	SW_JOURNAL_CEDE,  /* write `ceded` before GRANT is sent */
	SW_JOURNAL_TAKE,  /* write `owns` before the guest is resumed */
	SW_JOURNAL_NEVER, /* write `refused` before the answer is sent */
	SW_JOURNAL_MOVED, /* write `moved`; the guest may be torn down */
	SW_JOURNAL_BACK,  /* write `owns` under a newer epoch, then let the guest run here */
};

struct switchover_state_info {
	const char *name; /* in traces, progress and fault points */
	enum switchover_side side;
	bool may_run;     /* the guest may be running here */
	bool may_return;  /* source: it may resume here without asking anybody */
	bool end;
};

struct switchover_transition {
	enum switchover_state from;
	enum switchover_event event;
	enum switchover_state to;
	enum switchover_duty duty;
};

const struct switchover_state_info *switchover_info(enum switchover_state state);
const char *switchover_event_name(enum switchover_event event);

/* The row for EVENT in STATE, or NULL: that event cannot come there. */
const struct switchover_transition *switchover_find(enum switchover_state state,
						    enum switchover_event event);

/* The whole table, for tests and documentation; ends with a row whose from is SW_STATES. */
const struct switchover_transition *switchover_table(void);

#endif
