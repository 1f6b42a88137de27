/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/segue/move_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "proto/units.h"

#define BAR_MAX 30u

void move_view_init(struct move_view *view, bool quiet)
{
	*view = (struct move_view){.quiet = quiet, .terminal = isatty(STDERR_FILENO)};
}

void move_view_clear(struct move_view *view)
{
	if (view->drawn)
		fprintf(stderr, "\r\033[K");
	view->drawn = false;
}

unsigned move_view_percent(const Segue__Progress *progress)
{
	/* The first round is all of the guest's memory, a later one what was dirtied. */
	uint64_t whole = progress->round > 1 ? progress->pages_dirty : progress->pages_total;

	if (progress->pages_left >= whole)
		return 0;
	return (unsigned)((double)(whole - progress->pages_left) * 100 / (double)whole);
}

static unsigned terminal_width(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col ? 80 : size.ws_col;
}

static void make_bar(char *bar, unsigned percent, unsigned width)
{
	unsigned full = percent * width / 100;

	memset(bar, '#', full);
	memset(bar + full, '.', width - full);
	bar[width] = '\0';
}

static void describe(char *text, size_t size, const Segue__Progress *p)
{
	char rate[UNITS_MAX], time[UNITS_MAX], left[UNITS_MAX];
	int n = snprintf(text, size, "  %s", units_rate(rate, p->bandwidth));
	const Segue__Prediction *guess = p->prediction;

	if (n > 0 && p->throttle_percent)
		n += snprintf(text + n, size - (size_t)n, "  throttled %u%%",
			      p->throttle_percent);
	if (n <= 0 || !guess)
		return;
	if (!guess->converges)
		snprintf(text + n, size - (size_t)n, "  will not converge");
	else
		snprintf(text + n, size - (size_t)n, "  blackout about %s, %s left",
			 units_time(time, guess->blackout_us),
			 units_time(left, guess->total_us > p->elapsed_us
					      ? guess->total_us - p->elapsed_us
					      : 0));
}

static void draw(struct move_view *view, const Segue__Progress *p)
{
	char head[64], bar[BAR_MAX + 1], tail[160];
	unsigned percent = move_view_percent(p), width = terminal_width();
	size_t used;

	snprintf(head, sizeof(head), "%.20s %u %3u%% ", p->round ? "round" : "begins", p->round,
		 percent);
	describe(tail, sizeof(tail), p);
	used = strlen(head) + strlen(tail) + 3;
	if (used + 5 > width)
		bar[0] = '\0';
	else
		make_bar(bar, percent,
			 width - used > BAR_MAX ? BAR_MAX : (unsigned)(width - used));
	fprintf(stderr, "\r\033[K%s%s%s%s%.*s", head, *bar ? "[" : "", bar, *bar ? "]" : "",
		(int)(width > 12 ? width - 12 : 0), tail);
	fflush(stderr);
	view->drawn = true;
}

void move_view_progress(struct move_view *view, const Segue__Progress *progress)
{
	char tail[160];

	if (view->quiet || !progress)
		return;
	if (view->terminal) {
		draw(view, progress);
	} else if (progress->round != view->round) {
		view->round = progress->round;
		describe(tail, sizeof(tail), progress);
		fprintf(stderr, "round %u: %" PRIu64 " pages%s\n", progress->round,
			progress->round > 1 ? progress->pages_dirty : progress->pages_total,
			tail);
	}
}

static void print_blackout(const Segue__Blackout *b)
{
	char t[6][UNITS_MAX];

	if (!b)
		return;
	printf("blackout %s: pause %s, last pages %s, state %s, commit %s, resume %s\n",
	       units_time(t[0], b->total), units_time(t[1], b->pause),
	       units_time(t[2], b->last_pages), units_time(t[3], b->state),
	       units_time(t[4], b->commit), units_time(t[5], b->resume));
}

static void print_pages(const Segue__Progress *p)
{
	static const char *const words[] = {"zero", "raw", "LZ4", "delta", "unchanged"};
	const uint64_t counts[] = {p->pages_zero, p->pages_raw, p->pages_lz4, p->pages_delta,
				   p->pages_unchanged};
	const char *comma = "";

	printf("%" PRIu64 " pages sent (", p->pages_sent);
	for (size_t i = 0; i < 5; i++) {
		if (!counts[i])
			continue;
		printf("%s%" PRIu64 " %s", comma, counts[i], words[i]);
		comma = ", ";
	}
	printf("%s)", *comma ? "" : "none");
	if (p->pages_packed)
		printf(", %" PRIu64 " of them packed with zstd,", p->pages_packed);
	printf(" over %u channel%s\n", p->channels, p->channels == 1 ? "" : "s");
}

void move_view_moved(const char *name, const char *to, const Segue__Progress *progress)
{
	char time[UNITS_MAX], bytes[UNITS_MAX];

	printf("%s moved to %s", name, to);
	if (!progress) {
		printf("\n");
		return;
	}
	printf(" in %s: %u round%s, %s sent\n", units_time(time, progress->elapsed_us),
	       progress->round, progress->round == 1 ? "" : "s",
	       units_size(bytes, progress->bytes_sent));
	print_blackout(progress->blackout);
	print_pages(progress);
}

void move_view_predicted(const char *name, const Segue__Progress *progress)
{
	const Segue__Prediction *guess = progress ? progress->prediction : NULL;
	char a[UNITS_MAX], b[UNITS_MAX], c[UNITS_MAX];

	if (!guess) {
		printf("%s: nothing can be said\n", name);
		return;
	}
	printf("%s %s: blackout about %s, %s in all\n", name,
	       guess->converges ? "can be moved" : "will not converge",
	       units_time(a, guess->blackout_us), units_time(b, guess->total_us));
	printf("it dirties %" PRIu64 " pages a second, the link is taken for %s\n",
	       guess->dirty_rate, units_rate(c, guess->bandwidth));
	if (guess->words && *guess->words)
		printf("%s\n", guess->words);
}
