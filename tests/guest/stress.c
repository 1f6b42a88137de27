/* SPDX-License-Identifier: Apache-2.0 */
#include "guest.h"

/*
 * A guest that writes memory at a given rate, checks what it wrote, and beats.
 *
 * Command line, all words optional:
 *   fill=none|zero|mixed|random  fill_mib=N  fill_base=GPA   memory that looks used
 *   dirty_mib=N  dirty_base=GPA  the region written over and over; 0: idle
 *   rate=PAGES                   pages a second; 0: as fast as it goes
 *   tsc_khz=N                    what one second is; needed for rate and beat
 *   beat_us=N                    a heartbeat every so often
 *   verify=N                     check the whole region before every Nth pass; 0: never
 *   wait=GPA                     begin only when the host has put something at GPA
 *   io_mib=N  io_base=GPA        also read the first disk into memory, over and over
 *
 * On the serial port: a line "stress: ready", then heartbeats, the letters a to z in turn,
 * with a V whenever the region was found intact and a D for every pass over the disk. A
 * write that got lost ends it with a line that begins with FAIL.
 */
#define BATCH 32u

struct stress {
	uint64_t base;
	uint64_t pages;
	uint64_t verify;
	uint64_t pass;    /* number of the pass under way, from 1 */
	uint64_t next;    /* its next page */
	uint64_t checked; /* next page to check; == pages when this pass may write */

	uint64_t batch_ticks; /* 0: no waiting */
	uint64_t batch_due;
	uint64_t beat_ticks;
	uint64_t beat_due;
	char beat;

	uint64_t io_base;
	uint64_t io_pages;
	uint64_t io_next;
	uint32_t io_pass;
};

/* What page INDEX holds after PASS. */
static uint64_t stamp(uint64_t pass, uint64_t index)
{
	return pass << 32 | index << 12;
}

/* Four instructions a page: emulated, this is what bounds the dirty rate. */
static void write_batch(struct stress *s, uint64_t count)
{
	uint64_t at = s->base + s->next * GUEST_PAGE;
	uint64_t value = stamp(s->pass, s->next);
	uint64_t n = count;

	__asm__ volatile("1: movq %1, (%0); addq %3, %1; addq %3, %0; loop 1b"
			 : "+r"(at), "+r"(value), "+c"(n)
			 : "r"((uint64_t)GUEST_PAGE)
			 : "memory", "cc");
	s->next += count;
}

static void check_batch(struct stress *s, uint64_t count)
{
	uint64_t at = s->base + s->checked * GUEST_PAGE;
	uint64_t value = stamp(s->pass - 1, s->checked);
	uint64_t n = count;

	__asm__ volatile("1: cmpq %1, (%0); jne 2f; addq %3, %1; addq %3, %0; loop 1b; 2:"
			 : "+r"(at), "+r"(value), "+c"(n)
			 : "r"((uint64_t)GUEST_PAGE)
			 : "memory", "cc");
	if (n)
		serial_fail("page", at, *(volatile uint64_t *)at, value);
	s->checked += count;
	if (s->checked == s->pages)
		serial_byte('V');
}

static void begin_pass(struct stress *s)
{
	s->pass++;
	s->next = 0;
	s->checked = s->pass > 1 && s->verify && s->pass % s->verify == 0 ? 0 : s->pages;
}

static uint64_t at_most(uint64_t left)
{
	return left < BATCH ? left : BATCH;
}

static void work(struct stress *s)
{
	if (s->checked < s->pages) {
		check_batch(s, at_most(s->pages - s->checked));
		return;
	}
	write_batch(s, at_most(s->pages - s->next));
	if (s->next == s->pages)
		begin_pass(s);
}

/*
 * Is the time DUE reached? Sets the next one. A clock that went back or far ahead (the guest
 * has moved) starts the count anew instead of stalling or catching up.
 */
static bool due(uint64_t now, uint64_t *due, uint64_t ticks)
{
	int64_t late = (int64_t)(now - *due);

	if (late < 0 && (uint64_t)-late <= ticks)
		return false;
	*due = late < 0 || (uint64_t)late > ticks ? now + ticks : *due + ticks;
	return true;
}

static void beat(struct stress *s)
{
	/* Not waiting for room: one byte every so often always has it. */
	out8(0x3f8, (uint8_t)s->beat);
	s->beat = s->beat == 'z' ? 'a' : (char)(s->beat + 1);
}

/*
 * On the disk every 8 bytes are their own offset plus one. Each pass reads every page of
 * memory from another page of the disk, so that its content changes by the device's writes
 * alone: the processor only looks, and would see an older pass if one of them got lost.
 */
static uint64_t io_offset(const struct stress *s, uint32_t pass)
{
	uint64_t page = s->io_next + pass % s->io_pages;

	return (page < s->io_pages ? page : page - s->io_pages) * GUEST_PAGE;
}

static void io_check(const struct stress *s, uint64_t gpa)
{
	uint64_t want = io_offset(s, s->io_pass - 1) + 1;

	for (unsigned i = 0; i < GUEST_PAGE; i += 512) {
		uint64_t got = *(volatile uint64_t *)(gpa + i);

		if (got != want + i)
			serial_fail("sector", gpa + i, got, want + i);
	}
}

static void io_step(struct stress *s)
{
	uint64_t gpa = s->io_base + s->io_next * GUEST_PAGE;

	if (s->io_pass)
		io_check(s, gpa);
	if (!blk_read(io_offset(s, s->io_pass) / 512, gpa, GUEST_PAGE / 512))
		serial_fail("read", gpa, io_offset(s, s->io_pass), 0);
	if (++s->io_next < s->io_pages)
		return;
	s->io_next = 0;
	s->io_pass++;
	serial_byte('D');
}

static __attribute__((noreturn)) void run(struct stress *s)
{
	for (;;) {
		uint64_t now = rdtsc();

		if (s->beat_ticks && due(now, &s->beat_due, s->beat_ticks))
			beat(s);
		if (s->pages && (!s->batch_ticks || due(now, &s->batch_due, s->batch_ticks)))
			work(s);
		if (s->io_pages)
			io_step(s);
	}
}

static void configure(struct stress *s)
{
	uint64_t khz = cmdline_number("tsc_khz", 2000000);
	uint64_t rate = cmdline_number("rate", 0);

	s->base = cmdline_number("dirty_base", 64u << 20);
	s->pages = cmdline_number("dirty_mib", 0) << 8;
	s->verify = cmdline_number("verify", 1);
	s->batch_ticks = rate ? BATCH * khz * 1000 / rate : 0;
	s->beat_ticks = cmdline_number("beat_us", 1000) * khz / 1000;
	s->beat = 'a';
	s->io_base = cmdline_number("io_base", 32u << 20);
	s->io_pages = cmdline_number("io_mib", 0) << 8;
	begin_pass(s);
}

static void start_disk(struct stress *s)
{
	if (!s->io_pages)
		return;
	if (!blk_init(cmdline_number("ecam", 0xe0000000), cmdline_number("bars", 0xc0000000)))
		serial_fail("no disk", 0, 0, 0);
	if (blk_sectors() < s->io_pages * 8)
		serial_fail("disk size", 0, blk_sectors(), s->io_pages * 8);
}

/* The host fills a guest's memory much faster than it could itself; it says when done. */
static void wait_for_host(uint64_t gpa)
{
	while (gpa && !*(volatile uint64_t *)gpa)
		;
}

void guest_main(const uint8_t *boot_params);

void guest_main(const uint8_t *boot_params)
{
	static struct stress s;

	serial_init();
	cmdline_init(boot_params);
	configure(&s);
	fill_pages(fill_named(), cmdline_number("fill_base", 64u << 20),
		   cmdline_number("fill_mib", 0) << 8);
	start_disk(&s);
	serial_text("stress: ready\n");
	wait_for_host(cmdline_number("wait", 0));
	run(&s);
}
