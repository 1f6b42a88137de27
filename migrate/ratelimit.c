/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/ratelimit.h"

#include <errno.h>
#include <time.h>

#define NS          UINT64_C(1000000000)
#define BURST_MIN   (64u << 10)
#define BURST_NS    UINT64_C(10000000)
#define CANCEL_NS   UINT64_C(20000000)
#define TOKENS_HIGH (INT64_MAX / 2)

__extension__ typedef unsigned __int128 wide;

/* A * B / C, held at TOKENS_HIGH: rates and times are the operator's and the clock's. */
static uint64_t scale(uint64_t a, uint64_t b, uint64_t c)
{
	wide v = (wide)a * b / c;

	return v > (wide)TOKENS_HIGH ? (uint64_t)TOKENS_HIGH : (uint64_t)v;
}

static void core_rate(struct ratelimit_core *core, uint64_t rate, uint64_t burst)
{
	if (!burst)
		burst = scale(rate, BURST_NS, NS);
	if (burst < BURST_MIN)
		burst = BURST_MIN;
	core->rate = rate;
	core->burst = burst > (uint64_t)TOKENS_HIGH ? (uint64_t)TOKENS_HIGH : burst;
}

void ratelimit_core_init(struct ratelimit_core *core, uint64_t rate, uint64_t burst,
			 uint64_t now)
{
	core_rate(core, rate, burst);
	core->tokens = (int64_t)core->burst;
	core->last = now;
}

/* Whole tokens are credited and the rest of the time is kept: slow rates lose nothing. */
static void core_refill(struct ratelimit_core *core, uint64_t now)
{
	uint64_t earned;

	if (now <= core->last)
		return;
	earned = scale(now - core->last, core->rate, NS);
	if ((int64_t)earned >= (int64_t)core->burst - core->tokens) {
		core->tokens = (int64_t)core->burst;
		core->last = now;
		return;
	}
	core->tokens += (int64_t)earned;
	core->last += scale(earned, NS, core->rate);
}

uint64_t ratelimit_core_take(struct ratelimit_core *core, uint64_t bytes, uint64_t now)
{
	if (core->rate == 0)
		return 0;
	core_refill(core, now);
	if (bytes > (uint64_t)TOKENS_HIGH / 2)
		bytes = (uint64_t)TOKENS_HIGH / 2;
	if (core->tokens < -(TOKENS_HIGH / 2))
		core->tokens = -(TOKENS_HIGH / 2);
	core->tokens -= (int64_t)bytes;
	if (core->tokens >= 0)
		return 0;
	return scale((uint64_t)-core->tokens, NS, core->rate);
}

/* ---- the one that sleeps ---- */

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS + (uint64_t)ts.tv_nsec;
}

void ratelimit_init(struct ratelimit *limit, uint64_t rate)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&limit->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&limit->changed, &attr);
	pthread_condattr_destroy(&attr);
	ratelimit_core_init(&limit->core, rate, 0, clock_ns());
}

void ratelimit_done(struct ratelimit *limit)
{
	pthread_cond_destroy(&limit->changed);
	pthread_mutex_destroy(&limit->lock);
}

void ratelimit_set(struct ratelimit *limit, uint64_t rate)
{
	pthread_mutex_lock(&limit->lock);
	if (limit->core.rate)
		core_refill(&limit->core, clock_ns());
	else
		limit->core.last = clock_ns();
	core_rate(&limit->core, rate, 0);
	if (limit->core.tokens > (int64_t)limit->core.burst)
		limit->core.tokens = (int64_t)limit->core.burst;
	pthread_cond_broadcast(&limit->changed);
	pthread_mutex_unlock(&limit->lock);
}

/* Sleeps until UNTIL, at most until the next look at the cancel flag. Lock held. */
static void wait_some(struct ratelimit *limit, uint64_t now, uint64_t until)
{
	uint64_t wake = until - now > CANCEL_NS ? now + CANCEL_NS : until;
	struct timespec ts = {
		.tv_sec = (time_t)(wake / NS),
		.tv_nsec = (long)(wake % NS),
	};

	pthread_cond_timedwait(&limit->changed, &limit->lock, &ts);
}

int ratelimit_take(struct ratelimit *limit, uint64_t bytes, const atomic_bool *cancel)
{
	uint64_t now = clock_ns();
	uint64_t until;
	int r = 0;

	pthread_mutex_lock(&limit->lock);
	until = now + ratelimit_core_take(&limit->core, bytes, now);
	while (now < until && limit->core.rate) {
		if (cancel && atomic_load(cancel)) {
			r = -ECANCELED;
			break;
		}
		wait_some(limit, now, until);
		now = clock_ns();
	}
	pthread_mutex_unlock(&limit->lock);
	return r;
}
