/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Which socket, and at which byte. */
#ifndef RATATOSK_SOCK_BPF_H
#define RATATOSK_SOCK_BPF_H

#include "target.bpf.h"
#include <bpf/bpf_endian.h>
#ifdef CARRIER_KPROBE
#include "carrier_kprobe.bpf.h"
#else
#include "carrier_trace.bpf.h"
#endif

static __always_inline bool is_inet(struct sock *sk)
{
	__u16 family = sk->__sk_common.skc_family;

	return family == AF_INET || family == AF_INET6;
}

static __always_inline void fill_addresses(struct socket_id *id, struct sock *sk)
{
	if (id->family == AF_INET) {
		__builtin_memset(id->local_addr, 0, sizeof(id->local_addr));
		__builtin_memset(id->remote_addr, 0, sizeof(id->remote_addr));
		*(__u32 *)id->local_addr = sk->__sk_common.skc_rcv_saddr;
		*(__u32 *)id->remote_addr = sk->__sk_common.skc_daddr;
		return;
	}
	__builtin_memcpy(id->local_addr, sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8, 16);
	__builtin_memcpy(id->remote_addr, sk->__sk_common.skc_v6_daddr.in6_u.u6_addr8, 16);
}

static __always_inline void fill_socket(struct socket_id *id, struct sock *sk, __u8 source, __u8 offset_kind)
{
	id->cookie = cookie_of(sk);
	id->netns = sk->__sk_common.skc_net.net->ns.inum;
	id->family = sk->__sk_common.skc_family;
	id->local_port = sk->__sk_common.skc_num;
	id->remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
	id->source = source;
	id->offset_kind = offset_kind;
	id->reserved = 0;
	fill_addresses(id, sk);
}

/*
 * A FIN counts one in copied_seq once the reader has consumed it: then, and only then, is the socket DONE with
 * nothing left to read.
 */
static __always_inline __u32 consumed_fin(struct sock *sk, struct tcp_sock *tp)
{
	__u64 done = 1ULL << bpf_core_enum_value(enum sock_flags, SOCK_DONE);

	return (sk->__sk_common.skc_flags & done) && tp->copied_seq == tp->rcv_nxt;
}

#endif
