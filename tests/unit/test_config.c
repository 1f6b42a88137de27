/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <CUnit/CUnit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/config.h"

#define MINIMAL "name: web1\nmemory: 512M\nkernel:\n  image: vmlinuz\n"

static Segue__Guest *good(const char *text, const char *name)
{
	Segue__Guest *guest = NULL;
	struct error err = {0};

	if (config_parse(text, strlen(text), name, &guest, &err) < 0)
		fprintf(stderr, "unexpected: %s\n", err.text);
	CU_ASSERT_PTR_NOT_NULL_FATAL(guest);
	return guest;
}

/* TEXT must be refused with exactly WORDS. */
static void bad(const char *text, const char *words)
{
	Segue__Guest *guest = NULL;
	struct error err = {0};
	int r = config_parse(text, strlen(text), "web1.yaml", &guest, &err);

	CU_ASSERT(r < 0);
	CU_ASSERT_EQUAL(err.code, r);
	CU_ASSERT_PTR_NULL(guest);
	CU_ASSERT_STRING_EQUAL(err.text, words);
	if (strcmp(err.text, words))
		fprintf(stderr, "\n   got: %s\nwanted: %s\n", err.text, words);
	config_free(guest);
}

static void test_defaults(void)
{
	Segue__Guest *g = good(MINIMAL, "web1.yaml");

	CU_ASSERT_STRING_EQUAL(g->name, "web1");
	CU_ASSERT_STRING_EQUAL(g->engine, "auto");
	CU_ASSERT_STRING_EQUAL(g->cpu_model, "x86-64-v2");
	CU_ASSERT_EQUAL(g->cpus, 1);
	CU_ASSERT_EQUAL(g->memory, 512ull << 20);
	CU_ASSERT_STRING_EQUAL(g->kernel->image, "vmlinuz");
	CU_ASSERT_STRING_EQUAL(g->kernel->initrd, "");
	CU_ASSERT_EQUAL(g->n_disks, 0);
	CU_ASSERT_EQUAL(g->n_nets, 0);
	CU_ASSERT(g->console && g->entropy && g->balloon);
	CU_ASSERT_FALSE(g->allow_emulation);
	config_free(g);
}

static void test_everything(void)
{
	Segue__Guest *g =
	    good("name: db-2\nengine: kvm\n"
		 "cpu: {model: x86-64-v3, count: 4}\nmemory: 1.5G\n"
		 "kernel: {image: /boot/vmlinuz, initrd: initrd.img, cmdline: 'a=b c'}\n"
		 "disks:\n- path: root.img\n  serial: ROOT\n- {path: /d, readonly: yes, "
		 "direct: on}\n"
		 "nets:\n- tap: tap0\n- {tap: tap1, mac: '52:54:00:0A:0b:ff'}\n"
		 "console: off\nentropy: No\nballoon: false\nallow_emulation: true\n",
		 "etc/guests/db.yaml");
	const uint8_t mac[] = {0x52, 0x54, 0, 0x0a, 0x0b, 0xff};

	CU_ASSERT_EQUAL(g->cpus, 4);
	CU_ASSERT_STRING_EQUAL(g->cpu_model, "x86-64-v3");
	CU_ASSERT_EQUAL(g->memory, 1536ull << 20);
	CU_ASSERT_STRING_EQUAL(g->kernel->image, "/boot/vmlinuz");
	CU_ASSERT_STRING_EQUAL(g->kernel->initrd, "etc/guests/initrd.img");
	CU_ASSERT_STRING_EQUAL(g->kernel->cmdline, "a=b c");
	CU_ASSERT_EQUAL_FATAL(g->n_disks, 2);
	CU_ASSERT_STRING_EQUAL(g->disks[0]->path, "etc/guests/root.img");
	CU_ASSERT_STRING_EQUAL(g->disks[0]->serial, "ROOT");
	CU_ASSERT_FALSE(g->disks[0]->readonly);
	CU_ASSERT_STRING_EQUAL(g->disks[1]->path, "/d");
	CU_ASSERT(g->disks[1]->readonly && g->disks[1]->direct);
	CU_ASSERT_EQUAL_FATAL(g->n_nets, 2);
	CU_ASSERT_STRING_EQUAL(g->nets[0]->tap, "tap0");
	CU_ASSERT_EQUAL_FATAL(g->nets[0]->mac.len, 6);
	CU_ASSERT_EQUAL(g->nets[0]->mac.data[0] & 3, 2);
	CU_ASSERT_EQUAL_FATAL(g->nets[1]->mac.len, 6);
	CU_ASSERT(!memcmp(g->nets[1]->mac.data, mac, 6));
	CU_ASSERT_FALSE(g->console || g->entropy || g->balloon);
	CU_ASSERT(g->allow_emulation);
	config_free(g);
}

static void mac_of(const char *guest, unsigned net, uint8_t mac[6])
{
	char text[256];
	Segue__Guest *g;

	snprintf(text, sizeof(text),
		 "name: %s\nmemory: 4M\nkernel: {image: k}\nnets: [{tap: a}, {tap: b}]\n",
		 guest);
	g = good(text, "x.yaml");
	memcpy(mac, g->nets[net]->mac.data, 6);
	config_free(g);
}

/* A destination derives the same address, or the move would change it. */
static void test_derived_macs(void)
{
	uint8_t a0[6], again[6], a1[6], b0[6];

	mac_of("a", 0, a0);
	mac_of("a", 0, again);
	mac_of("a", 1, a1);
	mac_of("b", 0, b0);
	CU_ASSERT(!memcmp(a0, again, 6));
	CU_ASSERT(memcmp(a0, a1, 6));
	CU_ASSERT(memcmp(a0, b0, 6));
}

static void test_keys(void)
{
	bad(MINIMAL "memry: 4M\n", "web1.yaml:5: memry: unknown key; did you mean \"memory\"?");
	bad(MINIMAL "disks:\n- path: a\n- pth: b\n",
	    "web1.yaml:7: disks[1].pth: unknown key; did you mean \"path\"?");
	bad(MINIMAL "frobnicator: 1\n", "web1.yaml:5: frobnicator: unknown key");
	bad(MINIMAL "name: b\n", "web1.yaml:5: name: given twice");
	bad(MINIMAL "cpu:\n  count: 1\n  count: 2\n", "web1.yaml:7: cpu.count: given twice");
	bad(MINIMAL "? [a]\n: b\n", "web1.yaml:5: a key must be a plain word");
	bad("memory: 4M\n", "web1.yaml:1: name: missing; every guest needs one");
	bad("name: a\nkernel: {image: k}\n",
	    "web1.yaml:1: memory: missing; for example \"512M\"");
	bad("name: a\nmemory: 4M\nkernel:\n  initrd: i\n",
	    "web1.yaml:3: kernel.image: missing; the path of a bzImage or, for engine pv, "
	    "an ELF file");
	bad(MINIMAL "disks:\n- {path: a}\n- readonly: true\n",
	    "web1.yaml:7: disks[1].path: missing; the path of a raw image");
}

static void test_shapes(void)
{
	bad("", "web1.yaml:1: empty; a guest needs name, memory and kernel");
	bad("# nothing\n", "web1.yaml:1: empty; a guest needs name, memory and kernel");
	bad("- a\n", "web1.yaml:1: must hold keys, \"key: value\"");
	bad("name: a\n---\nname: b\n", "web1.yaml:3: a second document; one guest a file");
	bad("name: [a]\n", "web1.yaml:1: name: must be a plain value");
	bad(MINIMAL "cpu: 4\n", "web1.yaml:5: cpu: must hold keys, \"key: value\"");
	bad(MINIMAL "disks: {path: a}\n", "web1.yaml:5: disks: must be a list, \"- ...\"");
	bad(MINIMAL "disks:\n- a\n", "web1.yaml:6: disks[0]: must hold keys, \"key: value\"");
	bad(MINIMAL "console: maybe\n", "web1.yaml:5: console: must be true or false");
	bad(MINIMAL "disks:\n- path: a\n  readonly: 2\n",
	    "web1.yaml:7: disks[0].readonly: must be true or false");
	bad("name: a\n\tmemory: 4M\n",
	    "web1.yaml:2: not YAML: found a tab character that violates indentation while "
	    "scanning a plain scalar");
	bad("name: &x a\nmemory: *x\n", "web1.yaml:2: memory: YAML alias unsupported");
	bad(MINIMAL "nets: [{tap: a},{tap: b},{tap: c},{tap: d},{tap: e}]\n",
	    "web1.yaml:5: nets: 5 of them; at most 4");
}

static void test_values(void)
{
	bad("name: Web\nmemory: 4M\nkernel: {image: k}\n",
	    "web1.yaml:1: name: \"Web\" will not do: 1 to 63 of a-z, 0-9 and -, not beginning "
	    "with -");
	bad("name: ../x\nmemory: 4M\nkernel: {image: k}\n",
	    "web1.yaml:1: name: \"../x\" will not do: 1 to 63 of a-z, 0-9 and -, not beginning "
	    "with -");
	bad(MINIMAL "engine: xen\n", "web1.yaml:5: engine: unknown \"xen\"; use \"auto\"");
	bad(MINIMAL "cpu:\n  model: x86-64-v5\n",
	    "web1.yaml:6: cpu.model: unknown \"x86-64-v5\"; did you mean \"x86-64-v2\"?");
	bad(MINIMAL "cpu: {count: 0}\n", "web1.yaml:5: cpu.count: \"0\" is not 1 to 8");
	bad(MINIMAL "cpu: {count: 9}\n", "web1.yaml:5: cpu.count: \"9\" is not 1 to 8");
	bad(MINIMAL "cpu: {count: -1}\n", "web1.yaml:5: cpu.count: \"-1\" is not 1 to 8");
	bad("name: a\nmemory: 512\nkernel: {image: k}\n",
	    "web1.yaml:2: memory: \"512\" is not a size; for example \"512M\" or \"4G\"");
	bad("name: a\nmemory: 5M\nkernel: {image: k}\n",
	    "web1.yaml:2: memory: 5M is not a multiple of 2M; the next is 6M");
	bad("name: a\nmemory: 2M\nkernel: {image: k}\n",
	    "web1.yaml:2: memory: 2M is not 4M to 1T");
	bad("name: a\nmemory: 2T\nkernel: {image: k}\n",
	    "web1.yaml:2: memory: 2T is not 4M to 1T");
	bad("name: a\nmemory: 99999999999999999999T\nkernel: {image: k}\n",
	    "web1.yaml:2: memory: 99999999999999999999T is not 4M to 1T");
}

static void test_engines(void)
{
	Segue__Guest *g = good(MINIMAL "engine: pv\ncpu: {model: host}\n", "web1.yaml");

	CU_ASSERT_STRING_EQUAL(g->engine, "pv");
	CU_ASSERT_STRING_EQUAL(g->cpu_model, "host");
	config_free(g);
	bad(MINIMAL "engine: pv\ncpu:\n  count: 2\n",
	    "web1.yaml:7: cpu.count: 2, but engine pv runs one vCPU");
	bad(MINIMAL "engine: pv\ncpu:\n  model: x86-64-v3\n",
	    "web1.yaml:7: cpu.model: engine pv shows the host's processor: only \"host\"");
	bad("name: a\nmemory: 512G\nengine: pv\nkernel: {image: k}\n",
	    "web1.yaml:2: memory: 512G is more than the 254G that engine pv can give");
	/* Which it will be is not known yet. */
	g = good(MINIMAL "engine: auto\ncpu: {count: 2}\n", "web1.yaml");
	CU_ASSERT_STRING_EQUAL(g->engine, "auto");
	config_free(g);
}

static void test_devices(void)
{
	bad(MINIMAL "disks:\n- path: a\n- path: a\n",
	    "web1.yaml:7: disks[1].path: the same image as disks[0], and not both readonly");
	bad(MINIMAL "disks:\n- {path: a, serial: x}\n- {path: b, serial: x}\n",
	    "web1.yaml:7: disks[1].serial: the same as of disks[0]");
	bad(MINIMAL "disks:\n- {path: a, serial: 123456789012345678901}\n",
	    "web1.yaml:6: disks[0].serial: longer than 20 bytes");
	bad(MINIMAL "disks:\n- {path: a, serial: 'a b'}\n",
	    "web1.yaml:6: disks[0].serial: may hold printable ASCII without spaces only");
	bad(MINIMAL "nets:\n- mac: '02:00:00:00:00:01'\n",
	    "web1.yaml:6: nets[0].tap: missing; the name of a tap interface of this host");
	bad(MINIMAL "nets:\n- tap: averyverylongname\n",
	    "web1.yaml:6: nets[0].tap: \"averyverylongname\" cannot be an interface");
	bad(MINIMAL "nets:\n- {tap: a, mac: '02:00:00:00:00'}\n",
	    "web1.yaml:6: nets[0].mac: \"02:00:00:00:00\" is not like 02:00:5e:10:00:01");
	bad(MINIMAL "nets:\n- {tap: a, mac: '01:00:00:00:00:01'}\n",
	    "web1.yaml:6: nets[0].mac: \"01:00:00:00:00:01\" is not one card's address");
	bad(MINIMAL "nets:\n- {tap: a}\n- {tap: a}\n",
	    "web1.yaml:7: nets[1].tap: the same as of nets[0]");
	config_free(good(
	    MINIMAL "disks:\n- {path: a, readonly: true}\n- {path: a, readonly: true}\n", "a"));
}

static void test_load(void)
{
	char path[] = "/tmp/segue-config-XXXXXX.yaml", huge[(64 << 10) + 2];
	int fd = mkstemps(path, 5);
	Segue__Guest *guest = NULL;
	struct error err = {0};

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, MINIMAL, sizeof(MINIMAL) - 1), sizeof(MINIMAL) - 1);
	CU_ASSERT_EQUAL_FATAL(config_load(path, &guest, &err), 0);
	CU_ASSERT_STRING_EQUAL(guest->kernel->image, "/tmp/vmlinuz");
	config_free(guest);
	memset(huge, '#', sizeof(huge));
	CU_ASSERT_EQUAL(write(fd, huge, sizeof(huge)), sizeof(huge));
	CU_ASSERT(config_load(path, &guest, &err) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, ": longer than 64 KiB"));
	close(fd);
	unlink(path);
	err = (struct error){0};
	CU_ASSERT(config_load(path, &guest, &err) < 0);
	CU_ASSERT_PTR_NOT_NULL(strstr(err.text, ": No such file or directory"));
}

int main(void)
{
	CU_initialize_registry();
	CU_pSuite s = CU_add_suite("config", NULL, NULL);

	CU_add_test(s, "a short file gets sane defaults", test_defaults);
	CU_add_test(s, "every key is taken", test_everything);
	CU_add_test(s, "derived addresses are stable and differ", test_derived_macs);
	CU_add_test(s, "keys unknown, twice, missing", test_keys);
	CU_add_test(s, "values of the wrong shape", test_shapes);
	CU_add_test(s, "values out of range", test_values);
	CU_add_test(s, "what an engine cannot give", test_engines);
	CU_add_test(s, "disks and networks", test_devices);
	CU_add_test(s, "files", test_load);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
