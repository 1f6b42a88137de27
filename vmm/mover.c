/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/mover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <xxhash.h>

#include "machine.pb-c.h"
#include "migrate/fault.h"
#include "migrate/session.h"

/* ---- dirty source: the engine's and the monitor's own writes in one ---- */

static int mover_dirty_start(void *context, struct error *err)
{
	struct mover *mover = context;
	struct engine *engine = machine_engine(mover->machine);

	ram_track(machine_ram(mover->machine), true);
	return engine->ops->dirty_start(engine, err);
}

static int mover_dirty_harvest(void *context, unsigned region, uint64_t *words,
			       struct error *err)
{
	struct mover *mover = context;
	struct engine *engine = machine_engine(mover->machine);

	(void)region; /* there is one */
	ram_harvest(machine_ram(mover->machine), words);
	return engine->ops->dirty_harvest(engine, words, err);
}

static void mover_dirty_stop(void *context)
{
	struct mover *mover = context;
	struct engine *engine = machine_engine(mover->machine);

	engine->ops->dirty_stop(engine);
	ram_track(machine_ram(mover->machine), false);
}

static void mover_throttle(void *context, unsigned percent)
{
	struct mover *mover = context;

	machine_throttle(mover->machine, percent);
}

/* ---- run state ---- */

/* For tests: both ends tell what they think is in memory, and may be compared. */
static void tell_digest(struct mover *mover)
{
	struct ram *ram = machine_ram(mover->machine);
	char line[64];

	if (!mover->digest || !mover->log)
		return;
	snprintf(line, sizeof(line), "digest %016" PRIx64,
		 (uint64_t)XXH3_64bits(ram_base(ram), ram_size(ram)));
	mover->log(mover->log_context, line);
}

static void pause_done(void *context)
{
	struct loopcall *call = context;
	struct mover *mover = call->context;

	tell_digest(mover);
	loopcall_done(call, 0);
}

static void pause_run(struct loopcall *call)
{
	struct mover *mover = call->context;

	machine_pause(mover->machine, pause_done, call);
}

static int mover_pause(void *context, uint64_t *ret_paused_at, struct error *err)
{
	struct mover *mover = context;
	struct loopcall call = {.run = pause_run, .context = mover};
	int r = loopcall_wait(&mover->calls, &call, err);

	if (!r)
		*ret_paused_at = mover->held ? mover->held_since
					     : machine_paused_at(mover->machine);
	return r;
}

struct resume_call {
	struct loopcall call;
	uint64_t elapsed_ns;
};

static void resume_run(struct loopcall *call)
{
	struct resume_call *resume = (struct resume_call *)call;
	struct mover *mover = call->context;
	int r = 0;

	tell_digest(mover);
	if (fault_alloc())
		r = error_set(&call->error, -ENOMEM, "no memory to resume the guest");
	else if (mover->held)
		mover->held_since = session_now() - resume->elapsed_ns;
	else
		r = machine_resume(mover->machine, resume->elapsed_ns, &call->error);
	loopcall_done(call, r);
}

static int mover_resume(void *context, uint64_t elapsed_ns, struct error *err)
{
	struct mover *mover = context;
	struct resume_call resume = {
		.call = {.run = resume_run, .context = mover},
		.elapsed_ns = elapsed_ns,
	};

	return loopcall_wait(&mover->calls, &resume.call, err);
}

/* ---- state and contract ---- */

struct bytes_call {
	struct loopcall call;
	struct buffer *to;
	const uint8_t *from;
	size_t len;
};

static int bytes_wait(struct mover *mover, struct bytes_call *bytes,
		      void (*run)(struct loopcall *call), struct error *err)
{
	bytes->call.run = run;
	bytes->call.context = mover;
	return loopcall_wait(&mover->calls, &bytes->call, err);
}

static void save_run(struct loopcall *call)
{
	struct mover *mover = call->context;
	Segue__MonitorState state = SEGUE__MONITOR_STATE__INIT;
	struct buffer machine = {0};
	int r = machine_save(mover->machine, &machine, &call->error);

	state.held = mover->held;
	state.machine.data = machine.data;
	state.machine.len = machine.len;
	if (!r)
		r = buffer_pack(((struct bytes_call *)call)->to, &state.base);
	buffer_done(&machine);
	loopcall_done(call, r);
}

static void load_run(struct loopcall *call)
{
	struct mover *mover = call->context;
	struct bytes_call *bytes = (struct bytes_call *)call;
	Segue__MonitorState *state =
		segue__monitor_state__unpack(&fault_allocator, bytes->len, bytes->from);
	int r;

	if (!state) {
		r = error_set(&call->error, -EBADMSG, "the state is not a monitor's");
	} else {
		mover->held = state->held;
		r = machine_load(mover->machine, state->machine.data, state->machine.len,
				 &call->error);
	}
	segue__monitor_state__free_unpacked(state, &fault_allocator);
	loopcall_done(call, r);
}

static void contract_run(struct loopcall *call)
{
	struct mover *mover = call->context;

	loopcall_done(call, machine_contract(mover->machine, ((struct bytes_call *)call)->to));
}

static void accept_run(struct loopcall *call)
{
	struct mover *mover = call->context;
	struct bytes_call *bytes = (struct bytes_call *)call;

	loopcall_done(call, machine_accept(mover->machine, bytes->from, bytes->len,
					   &call->error));
}

static void late_run(struct loopcall *call)
{
	struct mover *mover = call->context;

	loopcall_done(call, machine_late_save(mover->machine, ((struct bytes_call *)call)->to));
}

static void take_late_run(struct loopcall *call)
{
	struct mover *mover = call->context;
	struct bytes_call *bytes = (struct bytes_call *)call;

	machine_late_load(mover->machine, bytes->from, bytes->len);
	loopcall_done(call, 0);
}

static int mover_save(void *context, struct buffer *state, struct error *err)
{
	return bytes_wait(context, &(struct bytes_call){.to = state}, save_run, err);
}

static int mover_load(void *context, const uint8_t *state, size_t len, struct error *err)
{
	return bytes_wait(context, &(struct bytes_call){.from = state, .len = len}, load_run, err);
}

static int mover_contract(void *context, struct buffer *contract, struct error *err)
{
	return bytes_wait(context, &(struct bytes_call){.to = contract}, contract_run, err);
}

static int mover_accept(void *context, const uint8_t *contract, size_t len, struct error *err)
{
	return bytes_wait(context, &(struct bytes_call){.from = contract, .len = len}, accept_run,
			  err);
}

static int mover_late(void *context, struct buffer *late, struct error *err)
{
	return bytes_wait(context, &(struct bytes_call){.to = late}, late_run, err);
}

static int mover_take_late(void *context, const uint8_t *late, size_t len, struct error *err)
{
	return bytes_wait(context, &(struct bytes_call){.from = late, .len = len}, take_late_run,
			  err);
}

int mover_init(struct mover *mover, struct machine *machine, const char *name,
	       void (*progress)(void *context), struct error *err)
{
	struct ram *ram = machine_ram(machine);
	int r = loopcalls_init(&mover->calls, machine_loop(machine));

	if (r)
		return error_system(err, r, "cannot reach the loop from other threads");
	mover->machine = machine;
	mover->digest = getenv("SEGUE_TEST_DIGEST") != NULL;
	mover->region = (struct migrate_region){
		.name = "ram",
		.base = ram_base(ram),
		.pages = ram_size(ram) / MIGRATE_PAGE,
		.fd = ram_fd(ram),
		.huge = ram_huge(ram),
	};
	mover->guest = (struct migrate_guest){
		.context = mover,
		.name = name,
		.regions = &mover->region,
		.n_regions = 1,
		.dirty_start = mover_dirty_start,
		.dirty_harvest = mover_dirty_harvest,
		.dirty_stop = mover_dirty_stop,
		.throttle = mover_throttle,
		.pause = mover_pause,
		.resume = mover_resume,
		.save = mover_save,
		.load = mover_load,
		.contract = mover_contract,
		.accept = mover_accept,
		.late = mover_late,
		.take_late = mover_take_late,
		.progress = progress,
	};
	return 0;
}

void mover_close(struct mover *mover)
{
	loopcalls_close(&mover->calls);
}
