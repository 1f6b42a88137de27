/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Whatever the file: a guest that keeps every promise of guest.proto, or an error in words. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	Segue__Guest *guest = NULL;
	struct error err = {0};
	int r = config_parse(len ? (const char *)data : "", len, "f.yaml", &guest, &err);

	if (r < 0) {
		if (guest || err.code != r || strncmp(err.text, "f.yaml:", 7))
			abort();
		return 0;
	}
	if (!guest || err.code || !guest->cpus || guest->cpus > CONFIG_CPUS_MAX ||
	    guest->memory % CONFIG_MEMORY_STEP || guest->memory < CONFIG_MEMORY_MIN ||
	    guest->memory > CONFIG_MEMORY_MAX || !guest->kernel || !*guest->kernel->image ||
	    guest->n_disks > CONFIG_DISKS_MAX || guest->n_nets > CONFIG_NETS_MAX)
		abort();
	for (size_t i = 0; i < guest->n_nets; i++)
		if (guest->nets[i]->mac.len != 6 || (guest->nets[i]->mac.data[0] & 1))
			abort();
	config_free(guest);
	return 0;
}
