/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/receiver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate/fault.h"
#include "migrate/receiver_internal.h"

/* Zero pages that were something else before: holes again, so that they cost no memory. */
static int zero_pages(void *context, uint64_t first, uint64_t count, struct error *err)
{
	const struct migrate_region *region = context;

	if (fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(first * MIGRATE_PAGE), (off_t)(count * MIGRATE_PAGE)))
		return error_system(err, -errno, "cannot empty guest memory");
	return 0;
}

static int make_targets(struct receiver *r, struct error *err)
{
	const struct migrate_guest *guest = r->session.guest;

	if (guest->n_regions > RECEIVER_REGIONS)
		return error_set(err, -E2BIG, "more than %u memory regions", RECEIVER_REGIONS);
	for (unsigned i = 0; i < guest->n_regions; i++) {
		const struct migrate_region *region = &guest->regions[i];

		r->region_pages[i] = region->pages;
		r->targets[i] = (struct codec_target){
			.base = region->base,
			.pages = region->pages,
			.present = bitmap_create(region->pages),
			.fd = region->fd,
			.huge = region->huge,
			.zero = zero_pages,
			.context = (void *)(uintptr_t)region,
		};
		if (!r->targets[i].present)
			return error_set(err, -ENOMEM, "no memory for a bitmap of the guest's pages");
	}
	return 0;
}

int receiver_create(const struct receiver_options *options, const struct migrate_guest *guest,
		    struct journal *journal, struct receiver **ret_receiver, struct error *err)
{
	struct receiver *r = calloc(1, sizeof(*r));
	int bad;

	if (!r)
		return error_set(err, -ENOMEM, "no memory for a move");
	r->options = *options;
	r->listen_fd = r->control.fd = -1;
	r->round = 1;
	for (unsigned i = 0; i < MIGRATE_CHANNELS; i++)
		r->channels[i] = (struct receiver_channel){.receiver = r, .channel = {.fd = -1}};
	pthread_mutex_init(&r->lock, NULL);
	pthread_mutex_init(&r->send_lock, NULL);
	pthread_cond_init(&r->turn, NULL);
	bad = session_init(&r->session, guest, journal, SW_LISTENING);
	r->session.trace = options->trace;
	r->session.trace_context = options->trace_context;
	if (!bad)
		bad = make_targets(r, err);
	if (!bad)
		bad = channel_tcp_listen(options->listen, &r->listen_fd, r->address,
					 sizeof(r->address), err);
	if (bad) {
		receiver_destroy(r);
		return error_system(err, bad, "cannot receive");
	}
	*ret_receiver = r;
	return 0;
}

void receiver_destroy(struct receiver *receiver)
{
	if (!receiver)
		return;
	channel_close(&receiver->control);
	if (receiver->listen_fd >= 0)
		close(receiver->listen_fd);
	for (unsigned i = 0; i < RECEIVER_REGIONS; i++)
		free(receiver->targets[i].present);
	buffer_done(&receiver->body);
	buffer_done(&receiver->state);
	session_done(&receiver->session);
	pthread_cond_destroy(&receiver->turn);
	pthread_mutex_destroy(&receiver->send_lock);
	pthread_mutex_destroy(&receiver->lock);
	free(receiver);
}

const char *receiver_address(const struct receiver *receiver)
{
	return receiver->address;
}

static void say_abort(struct receiver *r, const struct error *why)
{
	Segue__Abort abort = SEGUE__ABORT__INIT;

	if (r->control.fd < 0 || why->code == -ECONNABORTED)
		return;
	abort.reason = (char *)(uintptr_t)why->text;
	r->control.stall_ms = RECEIVER_ALIVE_MS;
	receiver_send(r, STREAM_ABORT, &abort.base, NULL);
}

/* A source that leaves before all its connections are up has left no trace. */
static void forget_source(struct receiver *r)
{
	channel_close(&r->control);
	for (unsigned i = 0; i < MIGRATE_CHANNELS; i++)
		channel_close(&r->channels[i].channel);
	r->connected = 0;
}

/* A source all of whose connections are not up soon never will have them. */
static int check_late(struct receiver *r, struct error *err)
{
	if (r->control.fd < 0 || r->connected == r->n_data ||
	    session_now() - r->welcomed_at < RECEIVER_CONNECT_MS * UINT64_C(1000000))
		return 0;
	return error_set(err, -ETIMEDOUT, "%u of %u data connections came within %u s",
			 r->connected, r->n_data, RECEIVER_CONNECT_MS / 1000);
}

static int wait_source(struct receiver *r, struct error *err)
{
	while (r->control.fd < 0 || r->connected < r->n_data) {
		struct error left = {0};
		int bad = receiver_wait(r, 500, &left);

		if (!bad)
			bad = check_late(r, &left);
		if (bad == -ECANCELED)
			return error_set(err, bad, "cancelled while waiting for a source");
		if (!bad)
			continue;
		receiver_tell(r, &left);
		say_abort(r, &left);
		forget_source(r);
	}
	return 0;
}

/* A vow that cannot be written down is tried again: until then nothing may be answered. */
static void drop(struct receiver *r, const struct error *why)
{
	enum switchover_event event = why->code == -ECANCELED ? SW_EV_CANCEL : SW_EV_FAILED;
	enum switchover_state state = session_state(&r->session);

	if (!switchover_find(state, event))
		event = SW_EV_FAILED;
	while (switchover_find(state, event) && session_event(&r->session, event, NULL))
		usleep(1000);
	say_abort(r, why);
}

enum switchover_state receiver_run(struct receiver *receiver, struct error *err)
{
	struct error why = {0};
	enum switchover_state end;
	int r;

	fault_point(switchover_info(SW_LISTENING)->name);
	r = wait_source(receiver, &why);
	if (!r)
		r = receiver_take(receiver, &why);
	if (r && !switchover_info(session_state(&receiver->session))->end)
		drop(receiver, &why);
	receiver_channels_stop(receiver);
	end = session_state(&receiver->session);
	if (end == SW_REFUSED)
		channel_close(&receiver->control);
	if (end == SW_RUNNING || (end == SW_REFUSED && why.code != -ECONNABORTED))
		receiver_linger(receiver);
	if (err)
		*err = why;
	return end;
}

void receiver_cancel(struct receiver *receiver)
{
	session_cancel(&receiver->session);
}

void receiver_look(struct receiver *receiver, struct session_progress *ret)
{
	session_look(&receiver->session, ret);
}

enum switchover_state receiver_state(const struct receiver *receiver)
{
	return session_state(&receiver->session);
}
