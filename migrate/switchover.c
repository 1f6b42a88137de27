/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/switchover.h"

#include <stddef.h>

static const struct switchover_state_info states[SW_STATES] = {
	/*                  name          side            may_run  may_return  end */
	[SW_CONNECTING] = {"connecting", SW_SOURCE,      true,  true,  false},
	[SW_PRECOPY]    = {"precopy",    SW_SOURCE,      true,  true,  false},
	[SW_DRAINING]   = {"draining",   SW_SOURCE,      false, true,  false},
	[SW_OFFERED]    = {"offered",    SW_SOURCE,      false, true,  false},
	[SW_GRANTED]    = {"granted",    SW_SOURCE,      false, false, false},
	[SW_ASKING]     = {"asking",     SW_SOURCE,      false, false, false},
	[SW_DOUBT]      = {"doubt",      SW_SOURCE,      false, false, false},
	[SW_MOVED]      = {"moved",      SW_SOURCE,      false, false, true},
	[SW_KEPT]       = {"kept",       SW_SOURCE,      true,  true,  true},
	[SW_LISTENING]  = {"listening",  SW_DESTINATION, false, false, false},
	[SW_TAKING]     = {"taking",     SW_DESTINATION, false, false, false},
	[SW_LOADING]    = {"loading",    SW_DESTINATION, false, false, false},
	[SW_PROMISED]   = {"promised",   SW_DESTINATION, false, false, false},
	[SW_TAKEN]      = {"taken",      SW_DESTINATION, true,  false, false},
	[SW_RUNNING]    = {"running",    SW_DESTINATION, true,  false, true},
	[SW_REFUSED]    = {"refused",    SW_DESTINATION, false, false, true},
	[SW_DROPPED]    = {"dropped",    SW_DESTINATION, false, false, true},
};

static const char *const events[SW_EVENTS] = {
	[SW_EV_ACCEPTED] = "accepted", [SW_EV_PAUSE] = "pause",
	[SW_EV_SENT] = "sent",         [SW_EV_READY] = "ready",
	[SW_EV_GRANT] = "grant",       [SW_EV_RESUMED] = "resumed",
	[SW_EV_FAILED] = "failed",     [SW_EV_CANCEL] = "cancel",
	[SW_EV_ASKED] = "asked",       [SW_EV_COMMITTED] = "committed",
	[SW_EV_NEVER] = "never",       [SW_EV_SILENCE] = "silence",
};

static const struct switchover_transition table[] = {
	{SW_CONNECTING, SW_EV_ACCEPTED,  SW_PRECOPY,  SW_NOTHING},
	{SW_CONNECTING, SW_EV_FAILED,    SW_KEPT,     SW_NOTHING},
	{SW_CONNECTING, SW_EV_CANCEL,    SW_KEPT,     SW_NOTHING},

	{SW_PRECOPY,    SW_EV_PAUSE,     SW_DRAINING, SW_NOTHING},
	{SW_PRECOPY,    SW_EV_FAILED,    SW_KEPT,     SW_NOTHING},
	{SW_PRECOPY,    SW_EV_CANCEL,    SW_KEPT,     SW_NOTHING},

	{SW_DRAINING,   SW_EV_SENT,      SW_OFFERED,  SW_NOTHING},
	{SW_DRAINING,   SW_EV_FAILED,    SW_KEPT,     SW_RESUME_HERE},
	{SW_DRAINING,   SW_EV_CANCEL,    SW_KEPT,     SW_RESUME_HERE},

	{SW_OFFERED,    SW_EV_READY,     SW_GRANTED,  SW_JOURNAL_CEDE},
	{SW_OFFERED,    SW_EV_FAILED,    SW_KEPT,     SW_RESUME_HERE},
	{SW_OFFERED,    SW_EV_CANCEL,    SW_KEPT,     SW_RESUME_HERE},

	/* From here on only the destination's word, or the operator's, brings the guest back. */
	{SW_GRANTED,    SW_EV_RESUMED,   SW_MOVED,    SW_JOURNAL_MOVED},
	{SW_GRANTED,    SW_EV_FAILED,    SW_ASKING,   SW_NOTHING},

	{SW_ASKING,     SW_EV_COMMITTED, SW_MOVED,    SW_JOURNAL_MOVED},
	{SW_ASKING,     SW_EV_NEVER,     SW_KEPT,     SW_JOURNAL_BACK},
	{SW_ASKING,     SW_EV_SILENCE,   SW_DOUBT,    SW_NOTHING},

	{SW_DOUBT,      SW_EV_COMMITTED, SW_MOVED,    SW_JOURNAL_MOVED},
	{SW_DOUBT,      SW_EV_NEVER,     SW_KEPT,     SW_JOURNAL_BACK},

	{SW_LISTENING,  SW_EV_ACCEPTED,  SW_TAKING,   SW_NOTHING},
	{SW_LISTENING,  SW_EV_FAILED,    SW_DROPPED,  SW_NOTHING},
	{SW_LISTENING,  SW_EV_CANCEL,    SW_DROPPED,  SW_NOTHING},

	{SW_TAKING,     SW_EV_SENT,      SW_LOADING,  SW_NOTHING},
	{SW_TAKING,     SW_EV_FAILED,    SW_DROPPED,  SW_NOTHING},
	{SW_TAKING,     SW_EV_CANCEL,    SW_DROPPED,  SW_NOTHING},

	{SW_LOADING,    SW_EV_READY,     SW_PROMISED, SW_NOTHING},
	{SW_LOADING,    SW_EV_FAILED,    SW_DROPPED,  SW_NOTHING},
	{SW_LOADING,    SW_EV_CANCEL,    SW_DROPPED,  SW_NOTHING},

	/* A promise is ended only by the grant, or by a vow in the journal never to take it. */
	{SW_PROMISED,   SW_EV_GRANT,     SW_TAKEN,    SW_JOURNAL_TAKE},
	{SW_PROMISED,   SW_EV_ASKED,     SW_REFUSED,  SW_JOURNAL_NEVER},
	{SW_PROMISED,   SW_EV_FAILED,    SW_REFUSED,  SW_JOURNAL_NEVER},
	{SW_PROMISED,   SW_EV_CANCEL,    SW_REFUSED,  SW_JOURNAL_NEVER},

	{SW_TAKEN,      SW_EV_RESUMED,   SW_RUNNING,  SW_NOTHING},
	/* It could not be set going, so nothing of it has run: the source's copy is good. */
	{SW_TAKEN,      SW_EV_FAILED,    SW_REFUSED,  SW_JOURNAL_NEVER},

	{SW_STATES,     SW_EVENTS,       SW_STATES,   SW_NOTHING},
};

const struct switchover_state_info *switchover_info(enum switchover_state state)
{
	return &states[state];
}

const char *switchover_event_name(enum switchover_event event)
{
	return events[event];
}

const struct switchover_transition *switchover_find(enum switchover_state state,
						    enum switchover_event event)
{
	const struct switchover_transition *row;

	for (row = table; row->from != SW_STATES; row++)
		if (row->from == state && row->event == event)
			return row;
	return NULL;
}

const struct switchover_transition *switchover_table(void)
{
	return table;
}
