/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "migrate/switchover.h"

/*
 * The switchover table, checked over everything two monitors can come into: all joint states
 * of source, destination and what is under way between them, with a crash of either side at
 * any instant, the connection lost at any instant, and any wait ended by its time-out at any
 * instant. The rules by which records cause events are those of the sender and the receiver.
 */
enum message {
	HELLO,
	WELCOME,
	FINISH,
	READY,
	GRANT,
	RESUMED,
	QUERY,
	COMMITTED,
	NEVER,
	MESSAGES
};

#define BIT(m) (1u << (m))

struct joint {
	enum switchover_state source, destination;
	/* Whether that side still listens to the connection; what is under way is lost if not.
	 */
	bool source_open, destination_open;
	bool source_lives, destination_lives;
	unsigned under_way; /* BIT(message) */
};

#define JOINTS            (1u << 21)
#define DESTINATIONS_FROM SW_LISTENING

static uint32_t number_of(const struct joint *j)
{
	return (uint32_t)j->source | (uint32_t)(j->destination - DESTINATIONS_FROM) << 4 |
	       (uint32_t)j->source_open << 8 | (uint32_t)j->destination_open << 9 |
	       (uint32_t)j->source_lives << 10 | (uint32_t)j->destination_lives << 11 |
	       (uint32_t)j->under_way << 12;
}

static struct joint joint_of(uint32_t n)
{
	return (struct joint){
	    .source = (enum switchover_state)(n & 15),
	    .destination = (enum switchover_state)((n >> 4 & 15) + DESTINATIONS_FROM),
	    .source_open = n >> 8 & 1,
	    .destination_open = n >> 9 & 1,
	    .source_lives = n >> 10 & 1,
	    .destination_lives = n >> 11 & 1,
	    .under_way = n >> 12,
	};
}

static struct {
	/* A table with a mistake in it: this row instead of the one it has, or besides. */
	const struct switchover_transition *mutant;
	uint8_t seen[JOINTS]; /* 1: reached; 2: and from there everybody reaches an end */
	uint32_t queue[JOINTS];
	uint32_t n_queue;
	bool used[SW_STATES][SW_EVENTS];
	unsigned twice, lost, stuck; /* joint states that break a rule */
	/* While successors are being made: */
	bool reaches_end;
	bool collecting;
} model;

static const struct switchover_transition *find(enum switchover_state state,
						enum switchover_event event)
{
	const struct switchover_transition *mutant = model.mutant;

	if (mutant && mutant->from == state && mutant->event == event)
		return mutant;
	return switchover_find(state, event);
}

/* A successor: put into the queue while exploring, asked about while looking for ends. */
static void go(const struct joint *next)
{
	uint32_t n = number_of(next);

	if (!model.collecting) {
		model.reaches_end |= model.seen[n] == 2;
	} else if (!model.seen[n]) {
		model.seen[n] = 1;
		model.queue[model.n_queue++] = n;
	}
}

/* What a side sends when EVENT has brought it into a new state. */
static unsigned sends(enum switchover_state to, enum switchover_event event)
{
	switch (to) {
	case SW_OFFERED:
		return BIT(FINISH);
	case SW_GRANTED:
		return BIT(GRANT);
	case SW_TAKING:
		return BIT(WELCOME);
	case SW_PROMISED:
		return event == SW_EV_READY ? BIT(READY) : 0;
	case SW_RUNNING:
		return BIT(RESUMED);
	case SW_REFUSED:
		return event == SW_EV_ASKED ? BIT(NEVER) : 0;
	default:
		return 0;
	}
}

static bool ends_connection(enum switchover_event event)
{
	return event == SW_EV_FAILED || event == SW_EV_CANCEL;
}

/* EVENT happens to the source when message bits NEED are there, which it takes. */
static void source_event(struct joint j, enum switchover_event event, unsigned need)
{
	const struct switchover_transition *row = find(j.source, event);

	if (!row || !j.source_lives || (j.under_way & need) != need)
		return;
	if (model.collecting)
		model.used[j.source][event] = true;
	j.under_way = (j.under_way & ~need) | sends(row->to, event);
	j.source = row->to;
	j.source_open &= !ends_connection(event);
	go(&j);
}

static void destination_event(struct joint j, enum switchover_event event, unsigned need)
{
	const struct switchover_transition *row = find(j.destination, event);

	if (!row || !j.destination_lives || (j.under_way & need) != need)
		return;
	if (model.collecting)
		model.used[j.destination][event] = true;
	j.under_way = (j.under_way & ~need) | sends(row->to, event);
	j.destination = row->to;
	j.destination_open &= !ends_connection(event);
	go(&j);
}

/* On the connection of the move, as long as that side has not given it up. */
static void steps_connected(const struct joint *j)
{
	if (j->source_open) {
		source_event(*j, SW_EV_ACCEPTED, BIT(WELCOME));
		source_event(*j, SW_EV_READY, BIT(READY));
		if (j->source == SW_GRANTED)
			source_event(*j, SW_EV_RESUMED, BIT(RESUMED));
	}
	if (j->destination_open) {
		if (j->destination == SW_LISTENING)
			destination_event(*j, SW_EV_ACCEPTED, BIT(HELLO));
		destination_event(*j, SW_EV_SENT, BIT(FINISH));
		destination_event(*j, SW_EV_GRANT, BIT(GRANT));
	}
}

static void steps_alone(const struct joint *j)
{
	source_event(*j, SW_EV_PAUSE, 0);
	source_event(*j, SW_EV_SENT, 0);
	source_event(*j, SW_EV_FAILED, 0);
	source_event(*j, SW_EV_CANCEL, 0);
	source_event(*j, SW_EV_SILENCE, 0);
	if (j->destination == SW_LOADING)
		destination_event(*j, SW_EV_READY, 0);
	if (j->destination == SW_TAKEN)
		destination_event(*j, SW_EV_RESUMED, 0);
	destination_event(*j, SW_EV_FAILED, 0);
	destination_event(*j, SW_EV_CANCEL, 0);
}

/* The destination is asked, on connections of their own: any number of times. */
static void steps_asking(const struct joint *j)
{
	struct joint next = *j;

	if (j->source_lives && (j->source == SW_ASKING || j->source == SW_DOUBT)) {
		next.under_way |= BIT(QUERY);
		go(&next);
		source_event(*j, SW_EV_COMMITTED, BIT(COMMITTED));
		source_event(*j, SW_EV_NEVER, BIT(NEVER));
	}
	if (!(j->under_way & BIT(QUERY)) || !j->destination_lives)
		return;
	destination_event(*j, SW_EV_ASKED, BIT(QUERY));
	next = *j;
	next.under_way &= ~BIT(QUERY);
	if (j->destination == SW_RUNNING)
		next.under_way |= BIT(COMMITTED);
	if (j->destination == SW_REFUSED)
		next.under_way |= BIT(NEVER);
	if (j->destination != SW_PROMISED)
		go(&next);
}

/* An operator who goes there and looks, and is right. */
static void steps_operator(const struct joint *j)
{
	if (j->source != SW_DOUBT || !j->source_lives)
		return;
	if (j->destination == SW_RUNNING)
		source_event(*j, SW_EV_COMMITTED, 0);
	else if (!j->destination_lives)
		source_event(*j, SW_EV_NEVER, 0);
}

/* One crash; and records lost, when whoever they are for has not read them. */
static void steps_bad(const struct joint *j)
{
	struct joint next = *j;

	if (j->source_lives && j->destination_lives) {
		next.source_lives = false;
		go(&next);
		next = *j;
		next.destination_lives = false;
		go(&next);
	}
	for (unsigned m = QUERY; m < MESSAGES; m++) {
		next = *j;
		next.under_way &= ~BIT(m);
		if (j->under_way & BIT(m))
			go(&next);
	}
	/* Of the connection: from some record on all are lost, which is that it is given up. */
	next = *j;
	next.source_open = false;
	go(&next);
	next = *j;
	next.destination_open = false;
	go(&next);
}

static void steps(const struct joint *j)
{
	steps_connected(j);
	steps_alone(j);
	steps_asking(j);
	steps_operator(j);
	/* Nobody shall need another failure to come to an end. */
	if (model.collecting)
		steps_bad(j);
}

/* ---- the rules ---- */

static bool runs_twice(const struct joint *j)
{
	return j->source_lives && switchover_info(j->source)->may_run && j->destination_lives &&
	       switchover_info(j->destination)->may_run;
}

/*
 * Lost: neither has it. The source has it until it knows it moved; the destination from when
 * it took it. A guest dies with the process that has it; then it must have been that one's.
 */
static bool is_lost(const struct joint *j)
{
	bool there = switchover_info(j->destination)->may_run;

	return j->source == SW_MOVED && !there;
}

static bool settled(const struct joint *j)
{
	return (!j->source_lives || switchover_info(j->source)->end) &&
	       (!j->destination_lives || switchover_info(j->destination)->end);
}

/* ---- exploring ---- */

static void explore(void)
{
	struct joint first = {
	    .source = SW_CONNECTING,
	    .destination = SW_LISTENING,
	    .source_open = true,
	    .destination_open = true,
	    .source_lives = true,
	    .destination_lives = true,
	    .under_way = BIT(HELLO),
	};

	memset(model.seen, 0, sizeof(model.seen));
	model.n_queue = 0;
	model.twice = model.lost = model.stuck = 0;
	model.collecting = true;
	go(&first);
	for (uint32_t i = 0; i < model.n_queue; i++) {
		struct joint j = joint_of(model.queue[i]);

		model.twice += runs_twice(&j);
		model.lost += is_lost(&j);
		steps(&j);
	}
	model.collecting = false;
}

/* From every joint state reached, can everybody alive come to an end? Backwards, to a rest. */
static void find_ends(void)
{
	bool more = true;

	while (more) {
		more = false;
		for (uint32_t i = model.n_queue; i-- > 0;) {
			struct joint j = joint_of(model.queue[i]);

			if (model.seen[model.queue[i]] == 2)
				continue;
			model.reaches_end = settled(&j);
			steps(&j);
			if (model.reaches_end) {
				model.seen[model.queue[i]] = 2;
				more = true;
			}
		}
	}
	for (uint32_t i = 0; i < model.n_queue; i++)
		model.stuck += model.seen[model.queue[i]] != 2;
}

static void check(const struct switchover_transition *mutant)
{
	model.mutant = mutant;
	explore();
	find_ends();
	model.mutant = NULL;
}

static void test_joint_states(void)
{
	memset(model.used, 0, sizeof(model.used));
	check(NULL);
	CU_ASSERT(model.n_queue > 100);
	CU_ASSERT_EQUAL(model.twice, 0);
	CU_ASSERT_EQUAL(model.lost, 0);
	CU_ASSERT_EQUAL(model.stuck, 0);
	printf("(%u joint states) ", model.n_queue);
}

static void test_every_row_used(void)
{
	const struct switchover_transition *row;

	for (row = switchover_table(); row->from != SW_STATES; row++) {
		if (!model.used[row->from][row->event])
			printf("never used: %s in %s\n", switchover_event_name(row->event),
			       switchover_info(row->from)->name);
		CU_ASSERT(model.used[row->from][row->event]);
	}
}

/* A checker that finds nothing in a wrong table would be worth nothing. */
static void test_finds_mistakes(void)
{
	static const struct switchover_transition twice[] = {
	    {SW_GRANTED, SW_EV_FAILED, SW_KEPT, SW_RESUME_HERE},
	    {SW_GRANTED, SW_EV_CANCEL, SW_KEPT, SW_RESUME_HERE},
	    {SW_ASKING, SW_EV_SILENCE, SW_KEPT, SW_JOURNAL_BACK},
	    {SW_REFUSED, SW_EV_GRANT, SW_TAKEN, SW_JOURNAL_TAKE},
	    {SW_LOADING, SW_EV_READY, SW_TAKEN, SW_JOURNAL_TAKE},
	    {SW_RUNNING, SW_EV_ASKED, SW_REFUSED, SW_JOURNAL_NEVER},
	};
	static const struct switchover_transition lost = {SW_ASKING, SW_EV_SILENCE, SW_MOVED,
							  SW_JOURNAL_MOVED};
	static const struct switchover_transition stuck = {SW_PROMISED, SW_EV_FAILED,
							   SW_DROPPED, SW_NOTHING};

	/* The last one breaks nothing at once, but its answer lets both run or none. */
	for (unsigned i = 0; i < 5; i++) {
		check(&twice[i]);
		CU_ASSERT(model.twice > 0);
	}
	check(&twice[5]);
	CU_ASSERT(model.twice + model.lost > 0);
	check(&lost);
	CU_ASSERT(model.lost > 0);
	check(&stuck);
	CU_ASSERT(model.stuck > 0);
}

/* ---- the table by itself ---- */

static bool reaches_end(enum switchover_state state, unsigned depth)
{
	if (switchover_info(state)->end)
		return true;
	for (int e = 0; depth && e < SW_EVENTS; e++) {
		const struct switchover_transition *row =
		    switchover_find(state, (enum switchover_event)e);

		if (row && reaches_end(row->to, depth - 1))
			return true;
	}
	return false;
}

static void test_states(void)
{
	for (int i = 0; i < SW_STATES; i++) {
		const struct switchover_state_info *info =
		    switchover_info((enum switchover_state)i);

		CU_ASSERT_PTR_NOT_NULL_FATAL(info->name);
		CU_ASSERT(reaches_end((enum switchover_state)i, SW_STATES));
		CU_ASSERT_EQUAL(info->side, i < SW_LISTENING ? SW_SOURCE : SW_DESTINATION);
		CU_ASSERT(info->side == SW_SOURCE || !info->may_return);
		for (int other = 0; other < i; other++)
			CU_ASSERT(strcmp(info->name,
					 switchover_info((enum switchover_state)other)->name));
	}
	for (int e = 0; e < SW_EVENTS; e++)
		CU_ASSERT_PTR_NOT_NULL(switchover_event_name((enum switchover_event)e));
}

static void test_rows(void)
{
	const struct switchover_transition *row, *twin;

	for (row = switchover_table(); row->from != SW_STATES; row++) {
		const struct switchover_state_info *from = switchover_info(row->from);
		const struct switchover_state_info *to = switchover_info(row->to);

		CU_ASSERT_EQUAL(from->side, to->side);
		CU_ASSERT_PTR_EQUAL(switchover_find(row->from, row->event), row);
		CU_ASSERT(!from->end);
		for (twin = row + 1; twin->from != SW_STATES; twin++)
			CU_ASSERT(twin->from != row->from || twin->event != row->event);
	}
}

/* What must be written down, and before what. */
static void test_duties(void)
{
	const struct switchover_transition *row;

	for (row = switchover_table(); row->from != SW_STATES; row++) {
		bool back = row->to == SW_KEPT && row->from != SW_KEPT;

		if (row->to == SW_GRANTED) {
			CU_ASSERT_EQUAL(row->duty, SW_JOURNAL_CEDE);
		}
		if (row->to == SW_TAKEN) {
			CU_ASSERT_EQUAL(row->duty, SW_JOURNAL_TAKE);
		}
		if (row->to == SW_REFUSED) {
			CU_ASSERT_EQUAL(row->duty, SW_JOURNAL_NEVER);
		}
		if (row->to == SW_MOVED) {
			CU_ASSERT_EQUAL(row->duty, SW_JOURNAL_MOVED);
		}
		/* A guest that stands still is set going; ceded, only under a newer epoch. */
		if (back && !switchover_info(row->from)->may_return) {
			CU_ASSERT_EQUAL(row->duty, SW_JOURNAL_BACK);
		} else if (back && !switchover_info(row->from)->may_run) {
			CU_ASSERT_EQUAL(row->duty, SW_RESUME_HERE);
		}
		/* Nobody goes back by itself once the grant may be out. */
		if (row->from >= SW_GRANTED && row->from <= SW_DOUBT) {
			CU_ASSERT(row->to != SW_KEPT || row->event == SW_EV_NEVER);
		}
	}
}

/* Whatever fails, a state that is no end has a way to say so, or asks. */
static void test_failure_has_a_row(void)
{
	for (int i = 0; i < SW_STATES; i++) {
		enum switchover_state state = (enum switchover_state)i;

		if (switchover_info(state)->end || state == SW_ASKING || state == SW_DOUBT)
			continue;
		CU_ASSERT_PTR_NOT_NULL(switchover_find(state, SW_EV_FAILED));
	}
}

int main(void)
{
	CU_pSuite suite;

	if (CU_initialize_registry() != CUE_SUCCESS)
		return 1;
	suite = CU_add_suite("switchover", NULL, NULL);
	if (!suite || !CU_add_test(suite, "states", test_states) ||
	    !CU_add_test(suite, "rows", test_rows) ||
	    !CU_add_test(suite, "duties", test_duties) ||
	    !CU_add_test(suite, "a failure has a row everywhere", test_failure_has_a_row) ||
	    !CU_add_test(suite, "all joint states", test_joint_states) ||
	    !CU_add_test(suite, "every row is used", test_every_row_used) ||
	    !CU_add_test(suite, "mistakes are found", test_finds_mistakes))
		return 1;
	CU_basic_set_mode(CU_BRM_NORMAL);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
