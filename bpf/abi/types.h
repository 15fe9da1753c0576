/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Fixed-width integers of the record layout; the probes already have them from vmlinux.h. */
#ifndef RATATOSK_ABI_TYPES_H
#define RATATOSK_ABI_TYPES_H

#ifndef __VMLINUX_H__
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
#endif

#endif
