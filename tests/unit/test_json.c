/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.pb-c.h"
#include "guest.pb-c.h"
#include "hello.pb-c.h"
#include "proto/json.h"
#include "proto/suggest.h"
#include "proto/units.h"

static void becomes(const ProtobufCMessage *message, const char *wanted)
{
	json_t *json = json_message(message);
	char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;

	CU_ASSERT_PTR_NOT_NULL_FATAL(text);
	CU_ASSERT_STRING_EQUAL(text, wanted);
	if (strcmp(text, wanted))
		fprintf(stderr, "\n   got: %s\nwanted: %s\n", text, wanted);
	free(text);
	json_decref(json);
}

static void test_guest(void)
{
	Segue__Guest g = SEGUE__GUEST__INIT;
	Segue__Kernel k = SEGUE__KERNEL__INIT;
	Segue__Net net = SEGUE__NET__INIT, *nets[] = {&net};
	uint8_t mac[] = {2, 0, 0xab, 0, 0, 0xff};

	g.name = "web1";
	g.memory = 1ull << 40;
	g.kernel = &k;
	net.tap = "tap0";
	net.mac = (ProtobufCBinaryData){6, mac};
	g.nets = nets;
	g.n_nets = 1;
	g.balloon = 1;
	becomes(&g.base, "{\"name\":\"web1\",\"engine\":\"\",\"cpu_model\":\"\",\"cpus\":0,"
			 "\"memory\":1099511627776,"
			 "\"kernel\":{\"image\":\"\",\"initrd\":\"\",\"cmdline\":\"\"},"
			 "\"disks\":[],\"nets\":[{\"tap\":\"tap0\",\"mac\":\"0200ab0000ff\"}],"
			 "\"console\":false,\"entropy\":false,\"balloon\":true,"
			 "\"allow_emulation\":false}");
}

static void test_oneof_and_enum(void)
{
	Segue__Reply reply = SEGUE__REPLY__INIT;
	Segue__Event event = SEGUE__EVENT__INIT;

	reply.error = -5;
	reply.text = "no";
	becomes(&reply.base, "{\"id\":0,\"error\":-5,\"text\":\"no\"}");
	reply.error = 0;
	reply.text = "";
	reply.of_case = SEGUE__REPLY__OF_EVENT;
	reply.event = &event;
	event.state = SEGUE__RUN_STATE__RUN_STATE_IN_DOUBT;
	event.time_us = UINT64_MAX;
	becomes(&reply.base, "{\"id\":0,\"error\":0,\"text\":\"\",\"event\":{"
			     "\"time_us\":\"18446744073709551615\",\"state\":\"in-doubt\","
			     "\"text\":\"\"}}");
	event.state = (Segue__RunState)4711;
	event.time_us = 0;
	event.text = "\xff\xfe"
		     "a";
	becomes(&event.base, "{\"time_us\":0,\"state\":\"unknown\",\"text\":\"??a\"}");
}

static void test_repeated_strings(void)
{
	Segue__Contract c = SEGUE__CONTRACT__INIT;
	char *devices[] = {"disk", "net"};
	json_t *json, *list;

	c.devices = devices;
	c.n_devices = 2;
	json = json_message(&c.base);
	list = json_object_get(json, "devices");
	CU_ASSERT_EQUAL(json_array_size(list), 2);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_array_get(list, 1)), "net");
	json_decref(json);
}

static void test_suggest(void)
{
	static const char *const words[] = {"run", "resume", NULL, "receive", "recover"};

	CU_ASSERT_STRING_EQUAL(suggest("resum", words, 5), "resume");
	CU_ASSERT_STRING_EQUAL(suggest("reciev", words, 5), "receive");
	CU_ASSERT_STRING_EQUAL(suggest("rnu", words, 5), "run");
	CU_ASSERT_PTR_NULL(suggest("frobnicate", words, 5));
	CU_ASSERT_PTR_NULL(suggest("", words, 5));
}

static void test_units(void)
{
	char buf[UNITS_MAX];
	uint64_t v = 7;

	CU_ASSERT(!units_parse_size("512M", &v) && v == 512ull << 20);
	CU_ASSERT(!units_parse_size("1.5 GiB", &v) && v == 1536ull << 20);
	CU_ASSERT(!units_parse_size("16777215T", &v) && v == 16777215ull << 40);
	v = 7;
	CU_ASSERT(units_parse_size("16777216T", &v) < 0);
	CU_ASSERT(units_parse_size("512", &v) < 0);
	CU_ASSERT(units_parse_size("-1G", &v) < 0);
	CU_ASSERT(units_parse_size("1.G", &v) < 0);
	CU_ASSERT(units_parse_size("", &v) < 0);
	CU_ASSERT_EQUAL(v, 7);
	CU_ASSERT(!units_parse_time("5ms", &v) && v == 5000);
	CU_ASSERT(!units_parse_time("0.5s", &v) && v == 500000);
	CU_ASSERT(!units_parse_time("5m", &v) && v == 300000000);
	CU_ASSERT_STRING_EQUAL(units_size(buf, 512ull << 20), "512 MiB");
	CU_ASSERT_STRING_EQUAL(units_size(buf, 1536ull << 20), "1.5 GiB");
	CU_ASSERT_STRING_EQUAL(units_rate(buf, 812000000), "812 MB/s");
	CU_ASSERT_STRING_EQUAL(units_time(buf, 3200), "3.2 ms");
	CU_ASSERT_STRING_EQUAL(units_time(buf, 125000000), "2 min 5 s");
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("json", NULL, NULL);

	CU_add_test(s, "nested messages, lists, bytes", test_guest);
	CU_add_test(s, "oneof arms and enum words", test_oneof_and_enum);
	CU_add_test(s, "lists of strings", test_repeated_strings);
	CU_add_test(s, "did you mean", test_suggest);
	CU_add_test(s, "sizes and times", test_units);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
