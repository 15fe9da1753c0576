// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Family `inet`: bytes that cross TCP sockets, at the exit of inet_recvmsg, inet_sendmsg and their IPv6 twins.
 *
 * Their signatures are the same on every kernel from 5.10 on (tcp_recvmsg's are not), kTLS and MPTCP pass them, and the
 * exit alone suffices: the iterator of the message was advanced by what the call moved, and is walked back by as much.
 */
#include "message.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int on_call(struct socket *sock, struct msghdr *msg, int flags, int ret, __u8 direction)
{
	tell_message(sock->sk, msg, flags, ret, direction);
	return 0;
}

static __always_inline int on_recv(struct socket *sock, struct msghdr *msg, int flags, int ret)
{
	if (flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
		return 0;
	return on_call(sock, msg, flags, ret, DIRECTION_RX);
}

SEC("fexit/inet_recvmsg")
int BPF_PROG(fexit__inet_recvmsg, struct socket *sock, struct msghdr *msg, __u64 size, int flags, int ret)
{
	return on_recv(sock, msg, flags, ret);
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(fexit__inet6_recvmsg, struct socket *sock, struct msghdr *msg, __u64 size, int flags, int ret)
{
	return on_recv(sock, msg, flags, ret);
}

SEC("fexit/inet_sendmsg")
int BPF_PROG(fexit__inet_sendmsg, struct socket *sock, struct msghdr *msg, __u64 size, int ret)
{
	return on_call(sock, msg, 0, ret, DIRECTION_TX);
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(fexit__inet6_sendmsg, struct socket *sock, struct msghdr *msg, __u64 size, int ret)
{
	return on_call(sock, msg, 0, ret, DIRECTION_TX);
}

/*
 * Before Linux 6.5 sendfile and splice pass this function, one page at a time (removed by dc97391e6610, "sock: Remove
 * ->sendpage*() in favour of sendmsg(MSG_SPLICE_PAGES)"). Only lengths: the bytes never were in user memory.
 */
SEC("?fexit/inet_sendpage")
int BPF_PROG(fexit__inet_sendpage, struct socket *sock, void *page, int offset, __u64 size, int flags, __s64 ret)
{
	struct sock *sk = sock->sk;
	struct buffer buf = {};
	struct call call;

	if (!sk || !is_observed(sk, ret) || !begin_call(&call, sk, ret, DIRECTION_TX))
		return 0;
	call.missing = MISSING_SENDFILE;
	finish_call(&call, &buf);
	return 0;
}
