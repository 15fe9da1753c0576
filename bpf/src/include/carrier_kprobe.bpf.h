/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What kprobe programs ask about a socket. Their arguments are bare numbers: a cast by bpf_rdonly_cast (Linux 6.2) lets
 * them read fields, but no helper takes such a pointer. So turns are kept by cookie, and the cookie is the one that a
 * tracing program (family `process`) or the kernel gave the socket before.
 */
#ifndef RATATOSK_CARRIER_KPROBE_BPF_H
#define RATATOSK_CARRIER_KPROBE_BPF_H

#include "maps.bpf.h"

/* 0: nobody asked for it yet. */
static __always_inline __u64 cookie_of(struct sock *sk)
{
	return sk->__sk_common.skc_cookie.counter;
}

/* NULL if nothing was kept. */
static __always_inline struct conn_state *known_conn(struct sock *sk)
{
	return known_conn_by_cookie(cookie_of(sk));
}

/* NULL if there is no memory for it, or the socket has no name. */
static __always_inline struct conn_state *conn_of(struct sock *sk)
{
	__u64 cookie = cookie_of(sk);

	return cookie ? conn_of_cookie(cookie) : NULL;
}

/* Nothing: entries by cookie are many, and here the socket is asked without a helper. */
static __always_inline struct socket_id *kept_id(struct conn_state *conn)
{
	return NULL;
}

/* Of a socket whose protocol is TCP. */
static __always_inline struct tcp_sock *tcp_of(struct sock *sk)
{
	return TYPED(struct tcp_sock, sk);
}

#endif
