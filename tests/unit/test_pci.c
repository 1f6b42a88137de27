/* SPDX-License-Identifier: Apache-2.0 */
#include <CUnit/Basic.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "fake_machine.h"
#include "proto/le.h"
#include "vmm/devices/msix.h"
#include "vmm/devices/pci.h"

/* A function of the test's own with a register BAR and MSI-X, seen as a guest sees it. */
struct toy {
	struct device device; /* only to undo everything in order */
	struct pci_function function;
	struct msix msix;
	uint64_t moved[PCI_BARS]; /* last gpa told */
	unsigned moves;
};

static struct machine *m;
static struct toy *toys[2];

static void toy_read(void *device, uint64_t offset, uint8_t *data, unsigned len)
{
	(void)device;
	for (unsigned i = 0; i < len; i++)
		data[i] = (uint8_t)(offset + i);
}

static void toy_write(void *device, uint64_t offset, const uint8_t *data, unsigned len)
{
	(void)device;
	(void)offset;
	(void)data;
	(void)len;
}

static const struct bus_ops toy_ops = {.read = toy_read, .write = toy_write};

static void toy_moved(struct pci_function *function, unsigned bar, uint64_t gpa)
{
	struct toy *toy = (struct toy *)((char *)function - offsetof(struct toy, function));

	toy->moved[bar] = gpa;
	toy->moves++;
}

static void toy_written(struct pci_function *function, unsigned offset, unsigned len)
{
	struct toy *toy = (struct toy *)((char *)function - offsetof(struct toy, function));

	msix_config_written(&toy->msix, offset, len);
}

static const struct pci_ops toy_pci_ops = {.bar_moved = toy_moved,
					   .config_written = toy_written};

static void toy_destroy(struct device *device)
{
	struct toy *toy = (struct toy *)device;

	pci_unplug(&toy->function);
	free(toy);
}

static void toy_reset(struct device *device)
{
	struct toy *toy = (struct toy *)device;

	msix_reset(&toy->msix);
	pci_reset(&toy->function);
}

static const struct device_ops toy_device_ops = {.destroy = toy_destroy, .reset = toy_reset};

static struct toy *toy_add(uint16_t id)
{
	const struct pci_identity identity = {
	    .vendor = 0x1234, .device = id, .class_code = 0x00ff00, .revision = 3};
	struct toy *toy = calloc(1, sizeof(*toy));

	toy->device.ops = &toy_device_ops;
	pci_init(&toy->function, m, &identity, &toy_pci_ops);
	CU_ASSERT_EQUAL(pci_add_bar(&toy->function, 0, 0x10000, &toy_ops, toy), 0);
	CU_ASSERT_EQUAL(msix_init(&toy->msix, &toy->function, 1, 3), 0);
	CU_ASSERT_EQUAL(pci_plug(&toy->function), 0);
	machine_add(m, &toy->device);
	return toy;
}

static uint64_t ecam(unsigned slot, unsigned reg)
{
	return LAYOUT_ECAM + (slot << 15) + reg;
}

static uint32_t config_in(unsigned slot, unsigned reg, unsigned len)
{
	fake_out(m, 0xcf8, 0x80000000u | slot << 11 | (reg & 0xfc), 4);
	return (uint32_t)fake_in(m, (uint16_t)(0xcfc + (reg & 3)), len);
}

static uint64_t bar_of(unsigned slot, unsigned bar)
{
	return fake_read(m, ecam(slot, PCI_BASE_ADDRESS_0 + 4 * bar), 4);
}

static void command(unsigned slot, uint16_t value)
{
	fake_write(m, ecam(slot, PCI_COMMAND), value, 2);
}

static void begin(void)
{
	m = fake_new(4u << 20);
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	toys[0] = toy_add(1);
	toys[1] = toy_add(2);
}

/* As Linux looks for configuration mechanism #1, then every slot both ways. */
static void test_config_space(void)
{
	begin();
	fake_out(m, 0xcfb, 1, 1);
	fake_out(m, 0xcf8, 0x80000000u, 4);
	CU_ASSERT_EQUAL(fake_in(m, 0xcf8, 4), 0x80000000u);
	CU_ASSERT_EQUAL(config_in(0, PCI_CLASS_DEVICE, 2), 0x0600);
	CU_ASSERT_EQUAL(config_in(1, PCI_VENDOR_ID, 4), 0x00011234u);
	CU_ASSERT_EQUAL(config_in(2, PCI_DEVICE_ID, 2), 2);
	CU_ASSERT_EQUAL(config_in(2, PCI_CLASS_REVISION, 1), 3);
	CU_ASSERT_EQUAL(config_in(1, PCI_INTERRUPT_PIN, 1), 0);
	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned reg = 0; reg < 256; reg += 4)
			CU_ASSERT_EQUAL(config_in(slot, reg, 4),
					fake_read(m, ecam(slot, reg), 4));
	CU_ASSERT_EQUAL(config_in(3, 0, 4), 0xffffffffu);
	/* Other functions, other buses, and the address register switched off. */
	CU_ASSERT_EQUAL(fake_read(m, ecam(1, 0) + (1 << 12), 4), 0xffffffffu);
	fake_out(m, 0xcf8, 0x80010800u, 4);
	CU_ASSERT_EQUAL(fake_in(m, 0xcfc, 4), 0xffffffffu);
	fake_out(m, 0xcf8, 0x00000800u, 4);
	CU_ASSERT_EQUAL(fake_in(m, 0xcfc, 4), 0xffffffffu);
	/* Behind the 256 bytes, and across their end. */
	CU_ASSERT_EQUAL(fake_read(m, ecam(1, 0x100), 4), 0xffffffffu);
	CU_ASSERT_EQUAL(fake_read(m, ecam(1, 0xfe), 8), 0xffffffffffff0000u);
	fake_write(m, ecam(1, 0xfc), UINT64_MAX, 8);
	fake_write(m, ecam(1, 0xffc), UINT64_MAX, 8);
	CU_ASSERT_EQUAL(fake_read(m, ecam(1, 0xfc), 4), 0);
	fake_free(m);
}

static void test_readonly(void)
{
	uint8_t before[PCI_CONFIG_SIZE];

	begin();
	memcpy(before, toys[0]->function.config, sizeof(before));
	for (unsigned i = 0; i < 256; i += 8)
		fake_write(m, ecam(1, i), UINT64_MAX, 8);
	for (unsigned i = 0; i < 256; i++)
		CU_ASSERT_EQUAL(toys[0]->function.config[i] & ~toys[0]->function.writable[i],
				before[i] & ~toys[0]->function.writable[i]);
	fake_reset(m);
	CU_ASSERT_EQUAL(memcmp(before, toys[0]->function.config, sizeof(before)), 0);
	fake_free(m);
}

static void test_bars(void)
{
	uint64_t bar, other;

	begin();
	bar = bar_of(1, 0);
	other = bar_of(2, 0);
	CU_ASSERT_TRUE(bar >= LAYOUT_PCI_WINDOW && bar % 0x10000 == 0);
	CU_ASSERT_TRUE(other >= bar + 0x10000 && other % 0x10000 == 0);
	CU_ASSERT_EQUAL(fake_read(m, bar, 1), 0xff);
	command(1, PCI_COMMAND_MEMORY);
	CU_ASSERT_EQUAL(toys[0]->moved[0], bar);
	CU_ASSERT_EQUAL(fake_read(m, bar + 0x24, 2), 0x2524);
	/* Sizing with decoding on: the address it passes through answers nowhere. */
	fake_write(m, ecam(1, PCI_BASE_ADDRESS_0), 0xffffffff, 4);
	CU_ASSERT_EQUAL(bar_of(1, 0), 0xffff0000);
	CU_ASSERT_EQUAL(toys[0]->moved[0], 0);
	CU_ASSERT_EQUAL(fake_read(m, bar, 1), 0xff);
	/* Moved. */
	fake_write(m, ecam(1, PCI_BASE_ADDRESS_0), 0xd0000000, 4);
	CU_ASSERT_EQUAL(toys[0]->moved[0], 0xd0000000);
	CU_ASSERT_EQUAL(fake_read(m, 0xd0000005, 1), 5);
	/* Not over RAM, the interrupt controller or the end of the window. */
	const uint32_t outside[] = {0,           0x100000,   0xbfff0000,
				    LAYOUT_ECAM, 0xfec00000, 0xfee00000};
	for (unsigned i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		fake_write(m, ecam(1, PCI_BASE_ADDRESS_0), outside[i], 4);
		CU_ASSERT_EQUAL(toys[0]->moved[0], 0);
	}
	/* On top of another: that one keeps the place, and it is free for us once it goes. */
	command(2, PCI_COMMAND_MEMORY);
	fake_write(m, ecam(1, PCI_BASE_ADDRESS_0), other, 4);
	CU_ASSERT_EQUAL(toys[0]->moved[0], 0);
	CU_ASSERT_EQUAL(toys[1]->moved[0], other);
	command(2, 0);
	command(1, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	CU_ASSERT_EQUAL(toys[0]->moved[0], other);
	fake_reset(m);
	CU_ASSERT_EQUAL(toys[0]->moved[0], 0);
	CU_ASSERT_EQUAL(bar_of(1, 0), bar);
	fake_free(m);
}

static unsigned find_cap(unsigned slot, uint8_t id)
{
	unsigned at = (unsigned)fake_read(m, ecam(slot, PCI_CAPABILITY_LIST), 1);

	CU_ASSERT_TRUE(fake_read(m, ecam(slot, PCI_STATUS), 2) & PCI_STATUS_CAP_LIST);
	while (at && fake_read(m, ecam(slot, at), 1) != id)
		at = (unsigned)fake_read(m, ecam(slot, at + 1), 1);
	return at;
}

static void set_vector(uint64_t table, unsigned i, uint32_t data, uint32_t mask)
{
	fake_write(m, table + 16 * i, 0xfee01000, 4);
	fake_write(m, table + 16 * i + 4, 0, 4);
	fake_write(m, table + 16 * i + 8, data, 4);
	fake_write(m, table + 16 * i + 12, mask, 4);
}

static void test_msix(void)
{
	unsigned cap;
	uint64_t table;

	begin();
	cap = find_cap(1, PCI_CAP_ID_MSIX);
	CU_ASSERT_NOT_EQUAL_FATAL(cap, 0);
	CU_ASSERT_EQUAL(fake_read(m, ecam(1, cap + 2), 2), 2); /* three vectors */
	CU_ASSERT_EQUAL(fake_read(m, ecam(1, cap + 4), 4), 1); /* BAR 1, at 0 */
	command(1, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	table = bar_of(1, 1);
	CU_ASSERT_EQUAL(fake_read(m, table + 12, 4), 1); /* masked at power-on */
	set_vector(table, 0, 0x41, 0);
	set_vector(table, 1, 0x42, 1);
	/* Off: lost. */
	msix_raise(&toys[0]->msix, 0);
	CU_ASSERT_EQUAL(m->n_msis, 0);
	fake_write(m, ecam(1, cap + 2), PCI_MSIX_FLAGS_ENABLE, 2);
	msix_raise(&toys[0]->msix, 0);
	CU_ASSERT_EQUAL(m->n_msis, 1);
	CU_ASSERT_EQUAL(m->msis[0].address, 0xfee01000);
	CU_ASSERT_EQUAL(m->msis[0].data, 0x41);
	/* Masked: kept, shown in the PBA, delivered once on unmasking. */
	msix_raise(&toys[0]->msix, 1);
	msix_raise(&toys[0]->msix, 1);
	CU_ASSERT_EQUAL(m->n_msis, 1);
	CU_ASSERT_EQUAL(fake_read(m, table + 2048, 8), 2);
	fake_write(m, table + 16 + 12, 0, 4);
	CU_ASSERT_EQUAL(m->n_msis, 2);
	CU_ASSERT_EQUAL(m->msis[1].data, 0x42);
	CU_ASSERT_EQUAL(fake_read(m, table + 2048, 8), 0);
	/* The mask of the function. */
	fake_write(m, ecam(1, cap + 2), PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	msix_raise(&toys[0]->msix, 0);
	CU_ASSERT_EQUAL(m->n_msis, 2);
	fake_write(m, ecam(1, cap + 3), PCI_MSIX_FLAGS_ENABLE >> 8, 1);
	CU_ASSERT_EQUAL(m->n_msis, 3);
	/* Vectors there are not; bytes behind table and PBA. */
	msix_raise(&toys[0]->msix, 3);
	msix_raise(&toys[0]->msix, MSIX_NONE);
	CU_ASSERT_EQUAL(m->n_msis, 3);
	fake_write(m, table + 48, UINT64_MAX, 8);
	fake_write(m, table + 4088, UINT64_MAX, 8);
	CU_ASSERT_EQUAL(fake_read(m, table + 48, 8), 0);
	CU_ASSERT_EQUAL(fake_read(m, table + 4088, 8), 0);
	CU_ASSERT_EQUAL(fake_read(m, table + 2056, 8), 0);
	fake_free(m);
}

static void test_state(void)
{
	Segue__PciFunction state = SEGUE__PCI_FUNCTION__INIT, bad;
	uint8_t config[PCI_CONFIG_SIZE], table[48];
	struct error err = {0};

	begin();
	command(1, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	fake_write(m, ecam(1, PCI_BASE_ADDRESS_0), 0xd0000000, 4);
	fake_write(m, ecam(1, find_cap(1, PCI_CAP_ID_MSIX) + 2), PCI_MSIX_FLAGS_ENABLE, 2);
	msix_raise(&toys[0]->msix, 2);
	pci_save(&toys[0]->function, &state);
	msix_save(&toys[0]->msix, &state);
	memcpy(config, state.config.data, sizeof(config));
	memcpy(table, state.msix_table.data, sizeof(table));
	state.config.data = config;
	state.msix_table.data = table;
	fake_reset(m);
	CU_ASSERT_EQUAL(pci_load(&toys[0]->function, &state, &err), 0);
	CU_ASSERT_EQUAL(msix_load(&toys[0]->msix, &state, &err), 0);
	CU_ASSERT_EQUAL(toys[0]->moved[0], 0xd0000000);
	CU_ASSERT_EQUAL(toys[0]->msix.pending, 4);
	fake_write(m, bar_of(1, 1) + 32 + 12, 0, 4);
	CU_ASSERT_EQUAL(m->n_msis, 1);

	bad = state;
	bad.config.len = 255;
	CU_ASSERT_EQUAL(pci_load(&toys[0]->function, &bad, &err), -EINVAL);
	bad = state;
	bad.msix_table.len = 47;
	CU_ASSERT_EQUAL(msix_load(&toys[0]->msix, &bad, &err), -EINVAL);
	bad = state;
	bad.msix_pending = UINT64_MAX;
	CU_ASSERT_EQUAL(msix_load(&toys[0]->msix, &bad, &err), 0);
	CU_ASSERT_EQUAL(toys[0]->msix.pending, 7);
	CU_ASSERT_EQUAL(pci_load(&toys[1]->function, &state, &err), -EINVAL);
	CU_ASSERT_EQUAL(pci_load(&toys[0]->function, NULL, &err), -EINVAL);
	/* What a guest may not write does not come in by this way either. */
	memset(config + 4, 0xff, sizeof(config) - 4);
	CU_ASSERT_EQUAL(pci_load(&toys[0]->function, &state, &err), 0);
	CU_ASSERT_EQUAL(config_in(1, PCI_CLASS_DEVICE, 2), 0x00ff);
	CU_ASSERT_EQUAL(config_in(1, PCI_HEADER_TYPE, 1), 0);
	CU_ASSERT_EQUAL(toys[0]->moved[0], 0);
	fake_free(m);
}

static void test_host_state(void)
{
	struct machine *source;
	struct error err = {0};
	const uint8_t junk[] = {0xff, 0xff, 0xff};
	struct device *host;

	begin();
	source = m;
	fake_out(m, 0xcf8, 0x80000904u, 4);
	begin();
	host = fake_device(m, "pci");
	CU_ASSERT_EQUAL(fake_move(fake_device(source, "pci"), host, &err), 0);
	CU_ASSERT_EQUAL(fake_in(m, 0xcf8, 4), 0x80000904u);
	CU_ASSERT_EQUAL(host->ops->load(host, junk, sizeof(junk), &err), -EINVAL);
	CU_ASSERT_EQUAL(host->ops->load(host, junk, 0, NULL), -EINVAL);
	fake_free(source);
	fake_free(m);
}

static void test_full(void)
{
	const struct pci_identity identity = {.vendor = 0x1234};
	struct pci_function lonely = {0}, big[3] = {0};

	m = fake_new(4u << 20);
	pci_init(&lonely, m, &identity, NULL);
	CU_ASSERT_EQUAL(pci_plug(&lonely), -ENODEV);
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	for (unsigned i = 0; i < 31; i++)
		CU_ASSERT_NOT_EQUAL(toy_add((uint16_t)i)->function.slot, 0);
	CU_ASSERT_EQUAL(pci_plug(&lonely), -ENOSPC);
	fake_free(m);

	m = fake_new(4u << 20);
	CU_ASSERT_EQUAL_FATAL(pci_host_add(m), 0);
	for (unsigned i = 0; i < 3; i++) {
		pci_init(&big[i], m, &identity, NULL);
		CU_ASSERT_EQUAL(pci_add_bar(&big[i], 0, 1u << 28, &toy_ops, NULL), 0);
		CU_ASSERT_EQUAL(pci_plug(&big[i]), i < 2 ? 0 : -ENOSPC);
	}
	CU_ASSERT_EQUAL(pci_add_bar(&big[0], 0, 4096, &toy_ops, NULL), -EINVAL);
	CU_ASSERT_EQUAL(pci_add_bar(&big[0], 1, 2048, &toy_ops, NULL), -EINVAL);
	CU_ASSERT_EQUAL(pci_add_bar(&big[0], 6, 4096, &toy_ops, NULL), -EINVAL);
	for (unsigned i = 0; i < 3; i++)
		pci_unplug(&big[i]);
	fake_free(m);
}

static void test_capability_room(void)
{
	const struct pci_identity identity = {.vendor = 0x1234};
	struct pci_function f = {0};
	uint8_t body[64] = {0};
	unsigned n = 0;

	pci_init(&f, NULL, &identity, NULL);
	while (pci_add_capability(&f, PCI_CAP_ID_VNDR, body, 64) > 0)
		n++;
	CU_ASSERT_EQUAL(n, 3); /* 0x40, 0x80, 0xc0 */
	CU_ASSERT_EQUAL(pci_add_capability(&f, PCI_CAP_ID_VNDR, body, 2), -ENOSPC);
	CU_ASSERT_EQUAL(f.config[0xc1], 0);
}

int main(void)
{
	CU_pSuite suite;

	CU_initialize_registry();
	suite = CU_add_suite("pci", NULL, NULL);
	CU_ADD_TEST(suite, test_config_space);
	CU_ADD_TEST(suite, test_readonly);
	CU_ADD_TEST(suite, test_bars);
	CU_ADD_TEST(suite, test_msix);
	CU_ADD_TEST(suite, test_state);
	CU_ADD_TEST(suite, test_host_state);
	CU_ADD_TEST(suite, test_full);
	CU_ADD_TEST(suite, test_capability_room);
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	return CU_get_number_of_failures() != 0;
}
