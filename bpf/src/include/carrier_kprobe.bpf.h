/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What kprobe programs ask about a socket. Their arguments are bare numbers: a cast by bpf_rdonly_cast (Linux 6.2) lets
 * them read fields, but no helper takes such a pointer. So turns are kept by cookie, and the cookie is the one that a
 * tracing program (family `process`) or the kernel gave the socket before.
 */
#ifndef RATATOSK_CARRIER_KPROBE_BPF_H
#define RATATOSK_CARRIER_KPROBE_BPF_H

#include "maps.bpf.h"

extern void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym;

#define TYPED(type, address) ((type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(type)))

/* 0: nobody asked for it yet. */
static __always_inline __u64 cookie_of(struct sock *sk)
{
	return sk->__sk_common.skc_cookie.counter;
}

/* NULL if there is no memory for it, or the socket has no name. */
static __always_inline struct conn_state *conn_of(struct sock *sk)
{
	struct conn_state fresh = {};
	struct conn_state *conn;
	__u64 cookie = cookie_of(sk);

	if (!cookie)
		return NULL;
	conn = bpf_map_lookup_elem(&conn_by_cookie, &cookie);
	if (conn)
		return conn;
	bpf_map_update_elem(&conn_by_cookie, &cookie, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&conn_by_cookie, &cookie);
}

/* Of a socket whose protocol is TCP. */
static __always_inline struct tcp_sock *tcp_of(struct sock *sk)
{
	return TYPED(struct tcp_sock, sk);
}

#endif
