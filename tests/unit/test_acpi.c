/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/le.h"
#include "vmm/boot/acpi.h"
#include "vmm/boot/aml.h"
#include "vmm/layout.h"

#define MIB (1ull << 20)

static uint8_t sum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *bytes++);
	return sum;
}

static const uint8_t *table_at(struct ram *ram, uint64_t gpa, const char *signature)
{
	const uint8_t *table = ram_at(ram, gpa, ACPI_HEADER);
	uint32_t len = le32_get(table + 4);

	CU_ASSERT_EQUAL(memcmp(table, signature, 4), 0);
	CU_ASSERT_FATAL(gpa >= LAYOUT_ACPI && gpa + len <= LAYOUT_ACPI_END);
	CU_ASSERT_EQUAL(sum(table, len), 0);
	return table;
}

/* Goes from the RSDP to every table, as a kernel does. */
static void test_chain(void)
{
	struct ram *ram = NULL;
	const uint8_t *rsdp, *xsdt, *fadt;

	CU_ASSERT_EQUAL_FATAL(ram_create(16 * MIB, &ram, NULL), 0);
	CU_ASSERT_EQUAL(acpi_write(ram, 8), 0);
	rsdp = ram_at(ram, LAYOUT_ACPI, 36);
	CU_ASSERT_EQUAL(memcmp(rsdp, "RSD PTR ", 8), 0);
	CU_ASSERT_EQUAL(sum(rsdp, 20), 0);
	CU_ASSERT_EQUAL(sum(rsdp, 36), 0);
	xsdt = table_at(ram, le64_get(rsdp + 24), "XSDT");
	CU_ASSERT_EQUAL(le32_get(xsdt + 4), ACPI_HEADER + 3 * 8);
	fadt = table_at(ram, le64_get(xsdt + 36), "FACP");
	table_at(ram, le64_get(xsdt + 44), "APIC");
	table_at(ram, le64_get(xsdt + 52), "MCFG");
	table_at(ram, le64_get(fadt + 140), "DSDT");
	ram_destroy(ram);
}

static void test_fadt(void)
{
	struct buffer bytes = {0};

	CU_ASSERT_EQUAL(acpi_fadt(&bytes, 0x12345), 0);
	CU_ASSERT_EQUAL(bytes.len, 276);
	CU_ASSERT_EQUAL(le32_get(bytes.data + 112) >> 20 & 1, 1); /* hardware-reduced */
	CU_ASSERT_EQUAL(le32_get(bytes.data + 112) >> 10 & 1, 1); /* has a reset register */
	CU_ASSERT_EQUAL(le64_get(bytes.data + 120), LAYOUT_RESET);
	CU_ASSERT_EQUAL(bytes.data[128], LAYOUT_RESET_VALUE);
	CU_ASSERT_EQUAL(le64_get(bytes.data + 140), 0x12345);
	CU_ASSERT_EQUAL(le64_get(bytes.data + 248), LAYOUT_SLEEP);
	CU_ASSERT_EQUAL(le64_get(bytes.data + 260), LAYOUT_SLEEP + 1);
	buffer_done(&bytes);
}

static void test_madt(void)
{
	struct buffer bytes = {0};
	unsigned cpus = 0, ioapics = 0;

	CU_ASSERT_EQUAL(acpi_madt(&bytes, 3), 0);
	CU_ASSERT_EQUAL(le32_get(bytes.data + 36), LAYOUT_LAPIC);
	CU_ASSERT_EQUAL(le32_get(bytes.data + 40), 0); /* no 8259 */
	for (size_t at = 44; at < bytes.len; at += bytes.data[at + 1]) {
		CU_ASSERT_FATAL(bytes.data[at + 1] >= 2);
		if (bytes.data[at] == 0)
			CU_ASSERT_EQUAL(bytes.data[at + 3], cpus++);
		if (bytes.data[at] == 1) {
			CU_ASSERT_EQUAL(le32_get(bytes.data + at + 4), LAYOUT_IOAPIC);
			ioapics++;
		}
	}
	CU_ASSERT_EQUAL(cpus, 3);
	CU_ASSERT_EQUAL(ioapics, 1);
	buffer_done(&bytes);
}

/* PkgLength at each of its sizes (ACPI 6.4, 20.2.4). */
static void test_lengths(void)
{
	static const struct {
		size_t body, len;
		uint8_t first;
	} cases[] = {
	    {4, 1, 5}, {62, 1, 63}, {63, 2, 0x41}, {4093, 2, 0x4f}, {4094, 3, 0x81},
	};
	uint8_t zeros[5000] = {0};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct aml aml = {0};

		aml_open(&aml);
		aml_bytes(&aml, zeros, cases[i].body);
		aml_close(&aml);
		CU_ASSERT_EQUAL(aml_done(&aml), 0);
		CU_ASSERT_EQUAL(aml.bytes.len, cases[i].body + cases[i].len);
		CU_ASSERT_EQUAL(aml.bytes.data[0], cases[i].first);
		buffer_done(&aml.bytes);
	}
}

static void test_encoding(void)
{
	static const uint8_t expected[] = {
	    0,   1,   0x0a, 2,   0x0a, 0xff, 0x0b, 0,    1,    0x0c, 0,   0,
	    1,   0,   0x0e, 0,   0,    0,    0,    1,    0,    0,    0,   '\\',
	    '_', 'S', '5',  '_', 0x0c, 0x41, 0xd0, 0x0a, 0x08, 0x0d, 'a', 0,
	};
	struct aml aml = {0};

	aml_integer(&aml, 0);
	aml_integer(&aml, 1);
	aml_integer(&aml, 2);
	aml_integer(&aml, 0xff);
	aml_integer(&aml, 0x100);
	aml_integer(&aml, 0x10000);
	aml_integer(&aml, 0x100000000);
	aml_name(&aml, "\\_S5");
	aml_eisa_id(&aml, "PNP0A08");
	aml_string(&aml, "a");
	CU_ASSERT_EQUAL(aml.bytes.len, sizeof(expected));
	CU_ASSERT(aml.bytes.len == sizeof(expected) &&
		  memcmp(aml.bytes.data, expected, sizeof(expected)) == 0);
	buffer_done(&aml.bytes);
}

static void test_errors(void)
{
	struct aml aml = {0};

	for (unsigned i = 0; i < AML_DEPTH; i++)
		aml_open(&aml);
	CU_ASSERT_EQUAL(aml_done(&aml), -EOVERFLOW); /* not closed */
	aml_open(&aml);
	for (unsigned i = 0; i < AML_DEPTH; i++)
		aml_close(&aml);
	CU_ASSERT_EQUAL(aml_done(&aml), -EOVERFLOW); /* too deep */
	buffer_done(&aml.bytes);
}

static char *slurp(const char *path)
{
	char *text = calloc(1, 1 << 16);
	FILE *file = fopen(path, "r");

	if (file) {
		fread(text, 1, (1 << 16) - 1, file);
		fclose(file);
	}
	return text;
}

/* Runs iasl in DIRECTORY; its exit status, or -1 when there is none. */
static int iasl(const char *directory, const char *option, const char *file)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (chdir(directory) < 0 || !freopen("iasl.log", "w", stdout) ||
		    !freopen("iasl.log", "a", stderr))
			_exit(126);
		execlp("iasl", "iasl", option, file, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void dump(const char *directory, const char *name, const struct buffer *bytes)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "w");
	CU_ASSERT_PTR_NOT_NULL_FATAL(file);
	CU_ASSERT_EQUAL(fwrite(bytes->data, 1, bytes->len, file), bytes->len);
	fclose(file);
}

static void check_text(const char *text)
{
	static const char *const said[] = {
	    "Device (PCI0)",
	    "EisaId (\"PNP0A08\")",
	    "0xC0000000,         // Range Minimum",
	    "0xDFFFFFFF,         // Range Maximum",
	    "Name (_CBA, 0xE0000000)",
	    "Name (_HID, \"ACPI0013\"",
	    "Interrupt (ResourceConsumer, Level, ActiveHigh, Exclusive, ,, )",
	    "OperationRegion (GEDR, SystemMemory, 0xFE000000, 0x04)",
	    "Method (_EVT, 1, Serialized)",
	    "Notify (PWRB, 0x80)",
	    "EisaId (\"PNP0C0C\")",
	    "EisaId (\"PNP0501\")",
	    "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, )",
	    "0x03F8,             // Range Minimum",
	    "Name (_HID, \"QEMU0001\")",
	    "0xFE001000,         // Address Base",
	    "Device (C001)",
	    "Name (\\_S5, Package (0x04)",
	};

	for (unsigned i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
		if (!strstr(text, said[i]))
			printf("\n    missing: %s\n", said[i]);
		CU_ASSERT_PTR_NOT_NULL(strstr(text, said[i]));
	}
}

/* A second opinion: ACPICA takes the table apart, and what it reads can be compiled again. */
static void test_disassembly(void)
{
	char directory[] = "/tmp/test-acpi-XXXXXX", path[256];
	struct buffer bytes = {0};
	char *text;
	int r;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
	CU_ASSERT_EQUAL(acpi_dsdt(&bytes, 2), 0);
	dump(directory, "dsdt.aml", &bytes);
	r = iasl(directory, "-d", "dsdt.aml");
	if (r < 0) {
		printf(" (iasl is not installed: skipped)");
	} else {
		CU_ASSERT_EQUAL(r, 0);
		snprintf(path, sizeof(path), "%s/dsdt.dsl", directory);
		text = slurp(path);
		check_text(text);
		free(text);
		CU_ASSERT_EQUAL(iasl(directory, "-ve", "dsdt.dsl"), 0);
	}
	snprintf(path, sizeof(path), "rm -r %s", directory);
	CU_ASSERT_EQUAL(system(path), 0);
	buffer_done(&bytes);
}

int main(void)
{
	CU_initialize_registry();
	CU_Suite *suite = CU_add_suite("acpi", NULL, NULL);

	CU_add_test(suite, "from the root to every table", test_chain);
	CU_add_test(suite, "fixed description", test_fadt);
	CU_add_test(suite, "interrupt controllers", test_madt);
	CU_add_test(suite, "lengths in AML", test_lengths);
	CU_add_test(suite, "values in AML", test_encoding);
	CU_add_test(suite, "errors in AML", test_errors);
	CU_add_test(suite, "iasl reads the DSDT", test_disassembly);
	CU_basic_run_tests();
	unsigned failures = CU_get_number_of_failures();
	CU_cleanup_registry();
	return failures != 0;
}
