/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_LAYOUT_H
#define TESTS_GUEST_LAYOUT_H

/* Where a test guest lives. Used from assembly too: plain numbers only. */
#define SETUP_SECTORS   2        /* of 512 bytes, behind the boot sector */
#define SETUP_TABLES    0x9000   /* six pages of page tables, when we make them ourselves */
#define GUEST_LOAD      0x100000 /* where the protected-mode part likes to be */
#define GUEST_INIT_SIZE 0x100000 /* image, bss and stack together at most */

#endif
