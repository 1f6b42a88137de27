// SPDX-License-Identifier: GPL-2.0-only
/*
 * Busy waiting, by the clock: a count of loops would be wrong on the next host.
 */
#include <linux/delay.h>
#include <linux/export.h>
#include <linux/jiffies.h>
#include <linux/math64.h>
#include "../../../um/os-segue/segue.h"

static void wait_ns(u64 ns)
{
	u64 end = segue_clock_read() + ns;

	while (segue_clock_read() < end)
		rep_nop();
}

/* The generic code's unit of delay is a loop; here it is a nanosecond. */
unsigned long calibrate_delay_is_known(void)
{
	return NSEC_PER_SEC / HZ;
}

void __delay(unsigned long loops)
{
	wait_ns(loops);
}
EXPORT_SYMBOL(__delay);

/* XLOOPS: microseconds in units of 2^-32 seconds, as asm-generic/delay.h passes constants. */
void __const_udelay(unsigned long xloops)
{
	wait_ns(mul_u64_u32_shr(xloops, NSEC_PER_SEC, 32));
}
EXPORT_SYMBOL(__const_udelay);

void __udelay(unsigned long usecs)
{
	wait_ns((u64)usecs * NSEC_PER_USEC);
}
EXPORT_SYMBOL(__udelay);

void __ndelay(unsigned long nsecs)
{
	wait_ns(nsecs);
}
EXPORT_SYMBOL(__ndelay);
