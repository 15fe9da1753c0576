/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What tracing programs (tp_btf, fexit, iterators) ask about a socket: the verifier knows its type. */
#ifndef RATATOSK_CARRIER_TRACE_BPF_H
#define RATATOSK_CARRIER_TRACE_BPF_H

#include "maps.bpf.h"

/* As long as the socket lives. */
struct conn_in_sock {
	struct conn_state state;
	struct socket_id id;	/* as records tell it, made once; without a cookie: not yet, or not any more */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct conn_in_sock);
} conn_by_sock SEC(".maps");

static __always_inline __u64 cookie_of(struct sock *sk)
{
	return bpf_get_socket_cookie(sk);
}

/* NULL if there is no memory for it. */
static __always_inline struct conn_state *conn_of(struct sock *sk)
{
	return bpf_sk_storage_get(&conn_by_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

/* NULL if nothing was kept. */
static __always_inline struct conn_state *known_conn(struct sock *sk)
{
	return bpf_sk_storage_get(&conn_by_sock, sk, 0, 0);
}

/* Of what conn_of or known_conn found. */
static __always_inline struct socket_id *kept_id(struct conn_state *conn)
{
	return &((struct conn_in_sock *)conn)->id;
}

/* Of a socket whose protocol is TCP. The helper asks once more for what is known, so it is for kernels before 6.2. */
static __always_inline struct tcp_sock *tcp_of(struct sock *sk)
{
	return bpf_ksym_exists(bpf_rdonly_cast) ? TYPED(struct tcp_sock, sk) : bpf_skc_to_tcp_sock(sk);
}

#endif
