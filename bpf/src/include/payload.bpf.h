/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From a user buffer into a ring reservation: no payload ever passes through memory that CPUs or tasks share. */
#ifndef RATATOSK_PAYLOAD_BPF_H
#define RATATOSK_PAYLOAD_BPF_H

#include "count.bpf.h"

/* Servers send a head and a body, clients a few pieces; nginx joins up to 8 buffers of a small response. */
#define MAX_SEGMENTS 8
/* After this much of one turn only the sizes still matter. */
#define TURN_BUDGET_BYTES 16384
/* Keeps a chunk-size line or a short head that begins a call. */
#define TAIL_BYTES 64

/*
 * Records of one CPU between two looks at how full the ring is: the look costs as much as counting. At the default widths
 * a CPU fills 34 KiB at most in between. The reader's tick drains the ring in any case: being woken is only sooner.
 */
#define WAKEUP_EVERY 16

/* Widths, set before loading: bytes of the first call of a turn (<= 16384), and of later calls (<= 16384). */
const volatile __u32 cfg_turn_bytes = 1024;
const volatile __u32 cfg_call_bytes = 512;
/* Bytes waiting in the data ring above which its reader is woken before its tick. */
const volatile __u64 cfg_wakeup_bytes = 1048576;

struct buffer {
	__u64 address;		/* of the bytes, or of an array of struct iovec */
	__u64 count;		/* segments, if it is a vector */
	__u64 skip;		/* bytes of the first segment that belong to an earlier call */
	bool is_vector;
	bool is_kernel_vector;	/* the array itself is the kernel's copy */
};

static __always_inline __u64 wakeup_flag(__u64 submitted)
{
	if (submitted % WAKEUP_EVERY)
		return BPF_RB_NO_WAKEUP;
	return bpf_ringbuf_query(&data_ring, BPF_RB_AVAIL_DATA) > cfg_wakeup_bytes ? BPF_RB_FORCE_WAKEUP :
										     BPF_RB_NO_WAKEUP;
}

static __always_inline __u64 copy_flat(void *to, __u64 address, __u64 want, __u64 room)
{
	/* keeps the clamp and the copy on one register, or clang 14 copies before it clamps */
	asm volatile("" : "+r"(want));
	if (want > room)
		want = room;
	return bpf_probe_read_user(to, want, (void *)address) ? 0 : want;
}

/*
 * By plain loads where they can be had (Linux 6.2): a helper costs six times as much. The copy that a helper writes to is
 * its own, so that the segment can live in registers.
 */
static __always_inline bool read_kernel_segment(struct iovec *segment, const void *at)
{
	struct iovec *typed, copy;

	if (!bpf_ksym_exists(bpf_rdonly_cast)) {
		if (bpf_probe_read_kernel(&copy, sizeof(copy), at))
			return false;
		*segment = copy;
		return true;
	}
	typed = TYPED(struct iovec, at);
	segment->iov_base = typed->iov_base;
	segment->iov_len = typed->iov_len;
	return true;
}

static __always_inline bool read_user_segment(struct iovec *segment, const void *at)
{
	struct iovec copy;

	if (bpf_probe_read_user(&copy, sizeof(copy), at))
		return false;
	*segment = copy;
	return true;
}

static __always_inline bool read_segment(struct iovec *segment, struct buffer *buf, __u64 i)
{
	void *at = (void *)(buf->address + i * sizeof(*segment));

	return buf->is_kernel_vector ? read_kernel_segment(segment, at) : read_user_segment(segment, at);
}

/* From a struct msghdr in user memory to its vector. */
static __always_inline __u8 vector_of_message(struct buffer *buf)
{
	struct user_msghdr msg;

	if (bpf_probe_read_user(&msg, sizeof(msg), (void *)buf->address))
		return MISSING_UNREADABLE;
	buf->address = (__u64)msg.msg_iov;
	buf->count = msg.msg_iovlen;
	return MISSING_NOTHING;
}

#endif
