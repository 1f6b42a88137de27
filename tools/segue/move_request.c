/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/move_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/units.h"

static void take_words(const struct invocation *invocation, Segue__MoveRequest *request)
{
	const char *unconverged = invocation_option(invocation, "if-unconverged");
	const char *compression = invocation_option(invocation, "compression");

	if (unconverged && !strcmp(unconverged, "keep-trying"))
		request->unconverged = SEGUE__UNCONVERGED__UNCONVERGED_KEEP_TRYING;
	else if (unconverged && !strcmp(unconverged, "throttle"))
		request->unconverged = SEGUE__UNCONVERGED__UNCONVERGED_THROTTLE;
	if (compression)
		request->compression = (char *)compression;
	request->dry_run = invocation_option(invocation, "dry-run") != NULL;
	request->wait = true;
}

int move_request_parse(const struct invocation *invocation, Segue__MoveRequest *request,
		       struct error *err)
{
	const char *channels = invocation_option(invocation, "channels");
	const char *bandwidth = invocation_option(invocation, "bandwidth");
	const char *downtime = invocation_option(invocation, "downtime");
	const char *limit = invocation_option(invocation, "time-limit");
	uint64_t us;

	if (channels) {
		if (strspn(channels, "0123456789") != strlen(channels) || !*channels ||
		    strlen(channels) > 2 || atoi(channels) < 1 || atoi(channels) > 16)
			return error_set(err, -EINVAL, "--channels is 1 to 16, not \"%s\"",
					 channels);
		request->channels = (uint32_t)atoi(channels);
	}
	if (bandwidth &&
	    (units_parse_size(bandwidth, &request->bandwidth) < 0 || !request->bandwidth))
		return error_set(err, -EINVAL,
				 "--bandwidth is bytes a second, such as 100M or 1G, "
				 "not \"%s\"",
				 bandwidth);
	if (downtime) {
		if (units_parse_time(downtime, &us) < 0 || !us || us > UINT32_MAX)
			return error_set(err, -EINVAL,
					 "--downtime is a time such as 5ms or 300us, "
					 "not \"%s\"",
					 downtime);
		request->downtime_us = (uint32_t)us;
	}
	if (limit) {
		if (units_parse_time(limit, &us) < 0 || us < 1000000 ||
		    us / 1000000 > UINT32_MAX)
			return error_set(err, -EINVAL,
					 "--time-limit is a time such as 30s or 5m, "
					 "not \"%s\"",
					 limit);
		request->time_limit_s = (uint32_t)(us / 1000000);
	}
	take_words(invocation, request);
	return 0;
}

int move_request_record(const struct invocation *invocation, char **ret_path, struct error *err)
{
	const char *record = invocation_option(invocation, "record");
	char *path;
	int r = 0;

	if (!record)
		return 0;
	if (asprintf(&path, "%s%s%s", *record == '/' ? "" : invocation->state_dir,
		     *record == '/' ? "" : "/", record) < 0)
		return error_set(err, -ENOMEM, "out of memory");
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		r = error_system(err, errno == ENOENT ? -ENOTDIR : -errno, "cannot make %s",
				 path);
	if (r < 0)
		free(path);
	else
		*ret_path = path;
	return r;
}
