/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where the bytes of a message are, told by its iterator after the call: it was advanced by what the call moved. */
#ifndef RATATOSK_MESSAGE_BPF_H
#define RATATOSK_MESSAGE_BPF_H

#include "capture.bpf.h"

/* Renamed in Linux 6.4 (de4f5fed3f23); UBUF came in 6.0 (fcb14cb1bdac). */
struct iov_iter___before_6_4 {
	const struct iovec *iov;
} __attribute__((preserve_access_index));

/* The buffers of a call, first byte first. */
struct walk {
	__u64 segment;		/* address of the current struct iovec, in kernel memory */
	__u64 offset;		/* bytes of it that were used */
	__u64 left;		/* bytes to walk back */
};

/* A member that is a pointer, as a number: verifiers up to 6.1 let nobody calculate with the pointer itself. */
static __always_inline __u64 address_at(const void *member)
{
	__u64 address;

	return bpf_probe_read_kernel(&address, sizeof(address), member) ? 0 : address;
}

static __always_inline __u64 segments_of(struct iov_iter *iter)
{
	struct iov_iter___before_6_4 *old = (void *)iter;

	return address_at(bpf_core_field_exists(iter->__iov) ? (void *)&iter->__iov : (void *)&old->iov);
}

static __always_inline bool is_type(struct iov_iter *iter, int known, int value)
{
	return known && iter->iter_type == value;
}

#define IS_TYPE(iter, name) \
	is_type(iter, bpf_core_enum_value_exists(enum iter_type, name), bpf_core_enum_value(enum iter_type, name))

/* One buffer: it begins `moved` bytes before the place that was reached. */
static __always_inline __u8 find_flat(struct buffer *buf, struct iov_iter *iter, __u64 moved)
{
	buf->is_vector = false;
	buf->address = address_at(&iter->ubuf) + iter->iov_offset - moved;
	return MISSING_NOTHING;
}

/*
 * Walks back over the segments to the one in which the call began. The array is the kernel's copy of the caller's.
 */
static __always_inline __u8 find_vector(struct buffer *buf, struct iov_iter *iter, __u64 moved)
{
	struct walk walk = { .segment = segments_of(iter), .offset = iter->iov_offset, .left = moved };
	struct iovec segment;

	for (int i = 0; i <= MAX_SEGMENTS; i++) {
		if (walk.offset >= walk.left) {
			buf->is_vector = true;
			buf->is_kernel_vector = true;
			buf->address = walk.segment;
			buf->skip = walk.offset - walk.left;
			buf->count = i + 1;
			return MISSING_NOTHING;
		}
		walk.left -= walk.offset;
		walk.segment -= sizeof(segment);
		if (bpf_probe_read_kernel(&segment, sizeof(segment), (void *)walk.segment))
			return MISSING_UNREADABLE;
		walk.offset = segment.iov_len;
	}
	return MISSING_SEGMENTS;
}

static __always_inline __u8 find_payload(struct buffer *buf, struct call *call, struct msghdr *msg, int flags)
{
	struct iov_iter *iter = &msg->msg_iter;

	if (flags & MSG_TRUNC)
		return MISSING_TRUNC;
	if (IS_TYPE(iter, ITER_UBUF))
		return find_flat(buf, iter, call->ret);
	if (IS_TYPE(iter, ITER_IOVEC))
		return find_vector(buf, iter, call->ret);
	if (IS_TYPE(iter, ITER_BVEC))
		return MISSING_SENDFILE;
	return MISSING_KERNEL_SOCKET; /* KVEC and its like: never in user memory */
}

#endif
