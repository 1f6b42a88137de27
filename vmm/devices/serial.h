/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMM_DEVICES_SERIAL_H
#define VMM_DEVICES_SERIAL_H

#include "proto/error.h"
#include "vmm/console.h"
#include "vmm/machine.h"

/*
 * COM1: a 16550A UART (National Semiconductor PC16550D data sheet) whose line is CONSOLE
 * and infinitely fast: what is written is gone at once. CONSOLE outlives the machine's
 * devices.
 */
int serial_add(struct machine *machine, struct console *console, struct error *err);

#endif
