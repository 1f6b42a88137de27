/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "migrate/session.h"
#include "vmm/monitor_internal.h"

/* What a monitor tells of itself. */

static uint64_t guest_resident(struct monitor *monitor)
{
	struct stat st;

	return fstat(ram_fd(machine_ram(monitor->machine)), &st)
		       ? 0
		       : (uint64_t)st.st_blocks * 512u;
}

/*
 * Anonymous and file memory of this process without shared memory, of which there is none
 * but the guest's: statm's resident less its shared pages would count libraries as nothing,
 * so the two are read from status.
 */
static uint64_t own_resident(void)
{
	static int fd = -1;
	char text[2048];
	uint64_t kib, sum = 0;
	ssize_t got;
	const char *at;

	if (fd < 0)
		fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	got = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);
	if (got < 0)
		return 0;
	text[got] = '\0';
	at = strstr(text, "RssAnon:");
	if (at && sscanf(at, "RssAnon: %" SCNu64, &kib) == 1)
		sum += kib;
	at = strstr(text, "RssFile:");
	if (at && sscanf(at, "RssFile: %" SCNu64, &kib) == 1)
		sum += kib;
	return sum << 10;
}

const char *monitor_tracking(struct monitor *monitor)
{
	const struct engine *engine = machine_engine(monitor->machine);

	return engine->ops->dirty_words ? engine->ops->dirty_words(engine) : "";
}

static void fill_progress(struct monitor *monitor, Segue__ShowReply *show)
{
	if (monitor->out.active)
		sender_look(monitor->sender, &monitor->progress);
	else if (monitor->in.active)
		receiver_look(monitor->receiver, &monitor->progress);
	if (monitor->has_progress)
		show->progress = &monitor->progress.progress;
}

void monitor_show(struct monitor *monitor, struct control_client *client, uint32_t id)
{
	const struct engine *engine = machine_engine(monitor->machine);
	Segue__ShowReply show = SEGUE__SHOW_REPLY__INIT;
	Segue__Reply reply = SEGUE__REPLY__INIT;

	show.guest = (Segue__Guest *)(uintptr_t)monitor->guest;
	show.state = monitor->state;
	show.engine = (char *)(uintptr_t)engine->ops->name;
	show.engine_why = (char *)(uintptr_t)machine_why(monitor->machine);
	show.tracking = (char *)(uintptr_t)monitor_tracking(monitor);
	show.pid = (uint32_t)getpid();
	show.epoch = monitor->journal.last.epoch;
	show.owner = (char *)(uintptr_t)journal_word(monitor->journal.last.what);
	show.uptime_us = (session_now() - monitor->started) / 1000u;
	show.memory_resident = guest_resident(monitor);
	show.overhead_resident = own_resident();
	show.listen = (char *)(uintptr_t)monitor_listens(monitor);
	show.doubt = monitor->doubt;
	show.version = SEGUE_VERSION;
	fill_progress(monitor, &show);
	reply.of_case = SEGUE__REPLY__OF_SHOW;
	reply.show = &show;
	control_reply(client, id, &reply);
}

void monitor_event(struct monitor *monitor, const char *text)
{
	Segue__Event event = SEGUE__EVENT__INIT;
	Segue__Reply reply = SEGUE__REPLY__INIT;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	event.time_us = (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
	event.state = monitor->state;
	event.text = (char *)(uintptr_t)(text ? text : "");
	if (monitor->has_progress)
		event.progress = &monitor->progress.progress;
	reply.of_case = SEGUE__REPLY__OF_EVENT;
	reply.event = &event;
	control_event(monitor->control, &reply);
}
