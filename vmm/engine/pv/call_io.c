/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "vmm/engine/pv/pv.h"

/* Hypercalls that reach devices, and those that end the guest. */
#define PORTS    0x10000u
#define PORT_MAX 4u /* bytes of one access */

static bool is_width(uint64_t len)
{
	return len == 1 || len == 2 || len == 4 || len == 8;
}

static int check(const uint64_t *args)
{
	uint64_t space = args[0], address = args[1], len = args[2];

	if (!is_width(len) || space > SEGUE_PV_PORTS)
		return -EINVAL;
	if (space == SEGUE_PV_PORTS && (len > PORT_MAX || address > PORTS - len))
		return -EINVAL;
	return 0;
}

static void hand_out(struct pv_engine *e, const uint64_t *args, bool write)
{
	struct pv_kernel *k = &e->kernel;

	k->ports = args[0] == SEGUE_PV_PORTS;
	k->address = args[1];
	k->len = (unsigned)args[2];
	k->write = write;
	memset(k->data, 0, sizeof(k->data));
	if (write)
		memcpy(k->data, &args[3], k->len);
	k->at = PV_AT_IO;
}

int64_t pv_call_io_read(struct pv_engine *e, const uint64_t *args)
{
	int r = check(args);

	if (r == 0)
		hand_out(e, args, false);
	return r;
}

static uint64_t cut(uint64_t value, uint64_t len)
{
	return len == 8 ? value : value & ((1ull << len * 8) - 1);
}

int64_t pv_call_io_write(struct pv_engine *e, const uint64_t *args)
{
	int r = check(args);

	if (r < 0)
		return r;
	if (args[0] == SEGUE_PV_MEMORY &&
	    pv_notify_write(e, args[1], (unsigned)args[2], cut(args[3], args[2])))
		return 0;
	hand_out(e, args, true);
	return 0;
}

void pv_io_settle(struct pv_engine *e)
{
	struct pv_kernel *k = &e->kernel;
	uint64_t value = 0;

	if (!k->write)
		memcpy(&value, k->data, k->len);
	pv_kernel_result(e, (int64_t)value);
}

int64_t pv_call_print(struct pv_engine *e, const uint64_t *args)
{
	struct pv_kernel *k = &e->kernel;

	if (!ram_at(e->ram, args[0], args[1]))
		return -EFAULT;
	k->text_gpa = args[0];
	k->text_len = args[1];
	k->at = PV_AT_PRINT;
	return 0;
}

bool pv_print_next(struct pv_engine *e)
{
	struct pv_kernel *k = &e->kernel;
	uint64_t n = k->text_len < PV_PRINT_MAX ? k->text_len : PV_PRINT_MAX;

	if (n == 0 || ram_read(e->ram, k->text_gpa, k->text, n) < 0) {
		pv_kernel_result(e, 0);
		return false;
	}
	k->chunk = (unsigned)n;
	k->text_gpa += n;
	k->text_len -= n;
	return true;
}

/* What a guest says about its end is shown to people: text on one line. */
static void words_take(struct pv_engine *e, uint64_t gpa, uint64_t len)
{
	char *words = e->kernel.words;
	uint64_t n = len < PV_WORDS_MAX ? len : PV_WORDS_MAX - 1;

	if (ram_read(e->ram, gpa, words, n) < 0)
		n = 0;
	for (uint64_t i = 0; i < n; i++) {
		if (words[i] < ' ' || words[i] > '~')
			words[i] = ' ';
	}
	while (n && words[n - 1] == ' ')
		n--;
	words[n] = 0;
}

int64_t pv_call_end(struct pv_engine *e, const uint64_t *args)
{
	static const enum pv_at ends[] = {
		[SEGUE_PV_OFF] = PV_AT_OFF,
		[SEGUE_PV_REBOOT] = PV_AT_REBOOT,
		[SEGUE_PV_PANIC] = PV_AT_PANICKED,
	};

	if (args[0] >= sizeof(ends) / sizeof(ends[0]))
		return -EINVAL;
	words_take(e, args[1], args[2]);
	e->kernel.at = ends[args[0]];
	return 0;
}
