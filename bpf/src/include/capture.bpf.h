/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What every family that sees whole calls shares: which calls count, at which byte they are, how much of them is copied,
 * and the copy itself. A family says where the bytes are, or why that is not known.
 */
#ifndef RATATOSK_CAPTURE_BPF_H
#define RATATOSK_CAPTURE_BPF_H

#include "control.bpf.h"
#include "payload.bpf.h"
#include "policy.bpf.h"

struct call {
	struct sock *sk;
	__u32 ret;
	__u32 offset;
	__u8 source;
	__u8 offset_kind;
	__u8 direction;
	__u8 missing;
	__u16 flags;
};

/* Where sequence numbers mean nothing (MPTCP) or something else (kTLS), count ourselves. */
static __always_inline void own_offset(struct call *call, struct conn_state *conn)
{
	call->offset_kind = OFFSET_COUNTER;
	if (call->direction == DIRECTION_RX) {
		call->offset = conn->rx_count;
		conn->rx_count += call->ret;
	} else {
		call->offset = conn->tx_count;
		conn->tx_count += call->ret;
	}
}

static __always_inline void find_offset(struct call *call, struct conn_state *conn)
{
	struct tcp_sock *tp = NULL;

	if (call->sk->sk_protocol == IPPROTO_TCP)
		tp = tcp_of(call->sk);
	call->source = SOURCE_MPTCP;
	if (!tp) {
		own_offset(call, conn);
		return;
	}
	call->source = SOURCE_KTLS;
	if (tp->inet_conn.icsk_ulp_ops) {
		own_offset(call, conn);
		return;
	}
	call->source = SOURCE_TCP;
	call->offset_kind = OFFSET_TCP_SEQ;
	if (call->direction == DIRECTION_RX)
		call->offset = tp->copied_seq - call->ret - consumed_fin(call->sk, tp);
	else
		call->offset = tp->write_seq - call->ret;
}

static __always_inline void fill_chunk(struct chunk_record *rec, struct call *call, __u16 kind)
{
	fill_header(&rec->hdr, kind, sizeof(*rec), sizeof(*rec), bpf_get_current_task_btf());
	fill_socket(&rec->sock, call->sk, call->source, call->offset_kind);
	rec->offset = call->offset;
	rec->orig_len = call->ret;
	rec->captured_len = 0;
	rec->direction = call->direction;
	rec->missing = call->missing;
	rec->flags = call->flags;
}

/* One function per size class: the verifier wants every reservation's size as a constant. */
#define EMIT_CLASS(bytes) \
static __noinline int emit_##bytes(struct call *call, struct buffer *buf, __u32 want) \
{ \
	struct { \
		struct chunk_record rec; \
		__u8 payload[bytes]; \
	} *chunk; \
	__u64 len; \
\
	chunk = bpf_ringbuf_reserve(&data_ring, sizeof(*chunk), 0); \
	if (!chunk) \
		return -1; \
	fill_chunk(&chunk->rec, call, RECORD_CHUNK); \
	len = copy_flat(chunk->payload, buf->address, want, bytes); \
	return submit_chunk(&chunk->rec, len, want); \
} \
\
static __noinline int emit_vector_##bytes(struct call *call, struct buffer *buf, __u32 want) \
{ \
	struct { \
		struct chunk_record rec; \
		__u8 payload[2 * bytes]; \
	} *chunk; \
	__u64 len = 0; \
\
	chunk = bpf_ringbuf_reserve(&data_ring, sizeof(*chunk), 0); \
	if (!chunk) \
		return -1; \
	fill_chunk(&chunk->rec, call, RECORD_CHUNK); \
	for (int i = 0; i < MAX_SEGMENTS; i++) { \
		struct iovec segment; \
		__u64 part; \
\
		if (i >= buf->count || len >= want || !read_segment(&segment, buf, i)) \
			break; \
		part = want - len; \
		if (segment.iov_len < part) \
			part = segment.iov_len; \
		asm volatile("" : "+r"(len), "+r"(part)); \
		if (len > bytes || part > bytes) \
			break; \
		if (bpf_probe_read_user(chunk->payload + len, part, segment.iov_base)) \
			break; \
		len += part; \
	} \
	return submit_chunk(&chunk->rec, len, want); \
}

static __always_inline int submit_chunk(struct chunk_record *rec, __u64 len, __u32 want)
{
	if (len < want && rec->missing == MISSING_NOTHING)
		rec->missing = len ? MISSING_SEGMENTS : MISSING_UNREADABLE;
	if (rec->missing != MISSING_NOTHING)
		count(COUNTER_MISSING + rec->missing);
	rec->captured_len = len;
	rec->hdr.len = sizeof(*rec) + len;
	count_add(COUNTER_CAPTURED_BYTES, len);
	count(COUNTER_DATA_SUBMITTED);
	bpf_ringbuf_submit(rec, wakeup_flag());
	return len;
}

EMIT_CLASS(128)
EMIT_CLASS(512)
EMIT_CLASS(1024)
EMIT_CLASS(4096)
EMIT_CLASS(16384)

static __noinline int emit_length(struct call *call, __u32 kind)
{
	struct chunk_record *rec = bpf_ringbuf_reserve(&data_ring, sizeof(*rec), 0);

	if (!rec)
		return -1;
	fill_chunk(rec, call, kind);
	return submit_chunk(rec, 0, 0);
}

static __always_inline int emit_payload(struct call *call, struct buffer *buf, __u32 want)
{
	if (want <= 128)
		return buf->is_vector ? emit_vector_128(call, buf, want) : emit_128(call, buf, want);
	if (want <= 512)
		return buf->is_vector ? emit_vector_512(call, buf, want) : emit_512(call, buf, want);
	if (want <= 1024)
		return buf->is_vector ? emit_vector_1024(call, buf, want) : emit_1024(call, buf, want);
	if (want <= 4096)
		return buf->is_vector ? emit_vector_4096(call, buf, want) : emit_4096(call, buf, want);
	return buf->is_vector ? emit_vector_16384(call, buf, want) : emit_16384(call, buf, want);
}

/* How many bytes of this call are worth copying. */
static __always_inline __u32 width(struct call *call, struct conn_state *conn)
{
	if (conn->direction != call->direction) {
		conn->direction = call->direction;
		conn->turn_captured = 0;
		call->flags |= CHUNK_TURN_START;
		return cfg_turn_bytes;
	}
	return conn->turn_captured < TURN_BUDGET_BYTES ? cfg_call_bytes : TAIL_BYTES;
}

static __always_inline void emit(struct call *call, struct conn_state *conn, struct buffer *buf)
{
	__u32 want = width(call, conn);
	int captured;

	if (want > call->ret)
		want = call->ret;
	if (call->missing == MISSING_NOTHING && want)
		captured = emit_payload(call, buf, want);
	else
		captured = emit_length(call, RECORD_CHUNK);
	if (captured < 0)
		count(COUNTER_DATA_RING_FULL);
	else
		conn->turn_captured += captured;
}

/*
 * A process that nobody decided about works on a connection that was accepted from a wanted port: it was handed the
 * socket, or inherited it. Then it is as wanted as who listens; user space hears of it once.
 */
static __always_inline __u8 match_accepted(struct sock *sk, __u32 tgid, __u8 state)
{
	struct conn_state *conn;
	__u16 port = sk->__sk_common.skc_num;
	__u8 mode = mode_of_port(port);

	if (mode == PORT_NONE || (state == TARGET_IGNORED && mode != PORT_OBSERVE))
		return state; /* ignored for more than its port */
	conn = known_conn(sk);
	if (!conn || !conn->is_accepted)
		return state;
	state = match_port(tgid, port);
	emit_matched(sk, bpf_get_current_task_btf(), state);
	return state;
}

/* May these bytes be looked at? Counts every call that may not, but might have been wanted. */
static __always_inline bool is_observed(struct sock *sk, __u32 tgid)
{
	__u8 state = target_state(tgid);

	if (state == TARGET_UNKNOWN || state == TARGET_IGNORED)
		state = match_accepted(sk, tgid, state);
	if (state == TARGET_UNKNOWN || state == TARGET_WANTED)
		count(COUNTER_UNDECIDED);
	if (state != TARGET_OBSERVED)
		return false;
	if (!policy_permits(tgid)) {
		count(COUNTER_POLICY_DENIED);
		return false;
	}
	if (is_silenced(bpf_ktime_get_boot_ns())) {
		count(COUNTER_SILENCED);
		return false;
	}
	return true;
}

static __always_inline bool is_tcp(struct sock *sk)
{
	__u16 protocol = sk->sk_protocol;

	return is_inet(sk) && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

/* Is this a call to be told? A recv of 0 is, where it says that the stream ended. */
static __always_inline bool is_told(struct sock *sk, int ret, __u8 direction)
{
	if (ret < 0 || !is_tcp(sk) || !is_observed(sk, bpf_get_current_pid_tgid() >> 32))
		return false;
	return ret || (direction == DIRECTION_RX && sk->sk_shutdown & RCV_SHUTDOWN);
}

/* NULL, counted, if there is no memory for 40 bytes: as lost as by a full ring. */
static __always_inline struct conn_state *begin_call(struct call *call)
{
	struct conn_state *conn = conn_of(call->sk);

	if (!conn) {
		count(cookie_of(call->sk) ? COUNTER_DATA_RING_FULL : COUNTER_UNNAMED_SOCKET);
		return NULL;
	}
	conn->is_told = true;
	find_offset(call, conn);
	return conn;
}

static __always_inline void finish_call(struct call *call, struct conn_state *conn, struct buffer *buf)
{
	if (!call->ret) {
		if (emit_length(call, RECORD_EOF) < 0)
			count(COUNTER_DATA_RING_FULL);
		return;
	}
	count(COUNTER_SOCKET_CALLS);
	count_add(COUNTER_ORIGINAL_BYTES, call->ret);
	emit(call, conn, buf);
}

#endif
