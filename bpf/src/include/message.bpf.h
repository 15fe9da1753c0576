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

/* As a number: the verifier lets nobody calculate with a pointer to a kernel structure. */
static __always_inline __u64 address_at(const void *member)
{
	__u64 address;

	return bpf_probe_read_kernel(&address, sizeof(address), member) ? 0 : address;
}

/*
 * The pointer that the iterator walks with: to the segments or to the one buffer, members of one union. Since 6.4 its
 * first member is an iovec whose first member is `void *`, so that a plain load gives a number.
 */
static __always_inline __u64 base_of(struct iov_iter *iter)
{
	struct iov_iter___before_6_4 *old = (void *)iter;

	return bpf_core_field_exists(iter->__iov) ? (__u64)iter->__iov : address_at(&old->iov);
}

#define IS_TYPE(type, name) \
	(bpf_core_enum_value_exists(enum iter_type, name) && (type) == bpf_core_enum_value(enum iter_type, name))

/* One buffer: it begins `moved` bytes before the place that was reached. */
static __always_inline __u8 find_flat(struct buffer *buf, struct iov_iter *iter, __u64 moved)
{
	buf->is_vector = false;
	buf->address = base_of(iter) + iter->iov_offset - moved;
	return MISSING_NOTHING;
}

/*
 * Walks back over the segments to the one in which the call began. The array is the kernel's copy of the caller's.
 */
static __always_inline __u8 find_vector(struct buffer *buf, struct iov_iter *iter, __u64 moved)
{
	struct walk walk = { .segment = base_of(iter), .offset = iter->iov_offset, .left = moved };
	struct iovec segment;

	barrier_var(walk.offset); /* or clang selects where to load the next one from, which the verifier refuses */
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
		walk.segment -= sizeof(struct iovec);
		if (!read_kernel_segment(&segment, (void *)walk.segment))
			return MISSING_UNREADABLE;
		walk.offset = segment.iov_len;
	}
	return MISSING_SEGMENTS;
}

static __always_inline __u8 find_payload(struct buffer *buf, struct call *call, struct msghdr *msg, int flags)
{
	struct iov_iter *iter = &msg->msg_iter;
	__u8 type = iter->iter_type;

	if (flags & MSG_TRUNC)
		return MISSING_TRUNC;
	if (IS_TYPE(type, ITER_UBUF))
		return find_flat(buf, iter, call->ret);
	if (IS_TYPE(type, ITER_IOVEC))
		return find_vector(buf, iter, call->ret);
	if (IS_TYPE(type, ITER_BVEC))
		return MISSING_SENDFILE;
	return MISSING_KERNEL_SOCKET; /* KVEC and its like: never in user memory */
}

/* A call that has returned `ret`, by the socket and the message that it was given. */
static __always_inline void tell_message(struct sock *sk, struct msghdr *msg, int flags, int ret, __u8 direction)
{
	struct buffer buf;
	struct call call;

	if (!sk || !is_observed(sk, ret) || !begin_call(&call, sk, ret, direction))
		return;
	__builtin_memset(&buf, 0, sizeof(buf));
	call.missing = find_payload(&buf, &call, msg, flags);
	finish_call(&call, &buf);
}

#endif
