/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/console.h"

struct sink {
	uint8_t *data;
	size_t len;
	struct console *console;
	struct console_reader *leave; /* detaches itself at its first output */
};

static void sink_output(void *context, const uint8_t *data, size_t len)
{
	struct sink *sink = context;

	sink->data = realloc(sink->data, sink->len + len + 1);
	memcpy(sink->data + sink->len, data, len);
	sink->len += len;
	if (sink->leave)
		console_detach(sink->console, sink->leave);
}

static void test_history(void)
{
	/* Around every length at which the ring begins to turn. */
	static const size_t lengths[] = {0,
					 1,
					 CONSOLE_HISTORY - 1,
					 CONSOLE_HISTORY,
					 CONSOLE_HISTORY + 1,
					 2 * CONSOLE_HISTORY,
					 2 * CONSOLE_HISTORY + 77};

	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct console *console = console_new(-1);
		struct sink sink = {0};
		struct console_reader reader = {.output = sink_output, .context = &sink};
		size_t len = lengths[i], kept = len < CONSOLE_HISTORY ? len : CONSOLE_HISTORY;
		uint8_t *text = malloc(len + 1);

		for (size_t j = 0; j < len; j++)
			text[j] = (uint8_t)(j * 31 + j / 253);
		for (size_t j = 0; j < len; j += 100)
			console_write(console, text + j, len - j < 100 ? len - j : 100);
		console_attach(console, &reader);
		CU_ASSERT_EQUAL(sink.len, kept);
		CU_ASSERT(sink.len == kept &&
			  (!kept || memcmp(sink.data, text + len - kept, kept) == 0));
		console_write(console, (const uint8_t *)"now", 3);
		CU_ASSERT_EQUAL(sink.len, kept + 3);
		CU_ASSERT_EQUAL(memcmp(sink.data + kept, "now", 3), 0);
		free(text);
		free(sink.data);
		console_free(console);
	}
}

static void test_readers(void)
{
	struct console *console = console_new(-1);
	struct sink a = {.console = console}, b = {.console = console};
	struct console_reader ra = {.output = sink_output, .context = &a};
	struct console_reader rb = {.output = sink_output, .context = &b};

	console_attach(console, &ra);
	console_attach(console, &rb);
	a.leave = &ra;
	console_write(console, (const uint8_t *)"one", 3);
	console_write(console, (const uint8_t *)"two", 3);
	CU_ASSERT_EQUAL(a.len, 3);
	CU_ASSERT_EQUAL(b.len, 6);
	console_detach(console, &ra); /* once more does nothing */
	free(a.data);
	free(b.data);
	console_free(console);
}

/* A device that takes a few bytes and then has no room until it is told otherwise. */
struct device {
	struct console *console;
	char got[8192];
	size_t len, room;
};

static size_t device_input(void *context, const uint8_t *data, size_t len)
{
	struct device *device = context;
	size_t n = len < device->room ? len : device->room;

	memcpy(device->got + device->len, data, n);
	device->len += n;
	device->room -= n;
	console_drain(device->console); /* finds room while it is being offered */
	return n;
}

static void test_input(void)
{
	struct console *console = console_new(-1);
	struct device device = {.console = console, .room = 3};
	char flood[5000];

	console_type(console, (const uint8_t *)"early", 5); /* before there is a device */
	console_device(console, device_input, &device);
	console_type(console, (const uint8_t *)"late", 4);
	CU_ASSERT_EQUAL(device.len, 3);
	device.room = 100;
	console_drain(console);
	CU_ASSERT_EQUAL(device.len, 9);
	CU_ASSERT_EQUAL(memcmp(device.got, "earlylate", 9), 0);
	device.room = 0;
	memset(flood, 'x', sizeof(flood));
	console_type(console, (const uint8_t *)flood, sizeof(flood));
	device.room = sizeof(device.got) - 9;
	console_drain(console);
	CU_ASSERT_EQUAL(device.len, 9 + 4096);
	console_free(console);
}

static void test_log(void)
{
	int fds[2];
	char text[16] = {0};

	CU_ASSERT_EQUAL_FATAL(pipe(fds), 0);
	struct console *console = console_new(fds[1]);
	console_write(console, (const uint8_t *)"to the log", 10);
	console_free(console);
	CU_ASSERT_EQUAL(read(fds[0], text, sizeof(text)), 10);
	CU_ASSERT_STRING_EQUAL(text, "to the log");
	CU_ASSERT_EQUAL(read(fds[0], text, sizeof(text)), 0); /* closed with the console */
	close(fds[0]);
	console_free(NULL);
}

int main(void)
{
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("console", NULL, NULL);

	CU_add_test(suite, "a late reader is given the end of what was said", test_history);
	CU_add_test(suite, "readers come and go", test_readers);
	CU_add_test(suite, "input waits for the device", test_input);
	CU_add_test(suite, "all goes to the log", test_log);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
