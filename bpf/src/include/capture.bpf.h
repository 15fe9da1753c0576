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
	struct conn_state *conn;
	__u64 ktime_ns;
	__u32 ret;
	__u32 offset;
	__u8 source;
	__u8 offset_kind;
	__u8 direction;
	__u8 missing;
	__u16 flags;
};

/* Where sequence numbers mean nothing (MPTCP) or something else (kTLS), count ourselves. */
static __always_inline void own_offset(struct call *call)
{
	struct conn_state *conn = call->conn;

	call->offset_kind = OFFSET_COUNTER;
	if (call->direction == DIRECTION_RX) {
		call->offset = conn->rx_count;
		conn->rx_count += call->ret;
	} else {
		call->offset = conn->tx_count;
		conn->tx_count += call->ret;
	}
}

static __always_inline void find_offset(struct call *call, __u16 protocol)
{
	struct tcp_sock *tp = NULL;

	if (protocol == IPPROTO_TCP)
		tp = tcp_of(call->sk);
	call->source = SOURCE_MPTCP;
	if (!tp) {
		own_offset(call);
		return;
	}
	call->source = SOURCE_KTLS;
	if (tp->inet_conn.icsk_ulp_ops) {
		own_offset(call);
		return;
	}
	call->source = SOURCE_TCP;
	call->offset_kind = OFFSET_TCP_SEQ;
	if (call->direction == DIRECTION_RX)
		call->offset = tp->copied_seq - call->ret - consumed_fin(call->sk, tp);
	else
		call->offset = tp->write_seq - call->ret;
}

/* The cookie is written last: another CPU may be in a call on the same socket, and look whether there is one. */
static __always_inline void keep_id(struct socket_id *kept, const struct socket_id *id)
{
	struct socket_id unnamed = *id;

	unnamed.cookie = 0;
	*kept = unnamed;
	barrier();
	*(volatile __u64 *)&kept->cookie = id->cookie;
}

/* What the socket says of itself changes with its connection only, and asking costs many checked loads. */
static __always_inline void fill_told_socket(struct socket_id *id, struct call *call)
{
	struct socket_id *kept = kept_id(call->conn);

	if (kept && kept->cookie) {
		*id = *kept;
		id->source = call->source;
		id->offset_kind = call->offset_kind;
		return;
	}
	fill_socket(id, call->sk, call->source, call->offset_kind);
	if (kept)
		keep_id(kept, id);
}

static __always_inline void fill_chunk(struct chunk_record *rec, struct call *call, __u16 kind)
{
	fill_header(&rec->hdr, kind, sizeof(*rec), bpf_get_current_task_btf(), call->ktime_ns);
	fill_told_socket(&rec->sock, call);
	rec->offset = call->offset;
	rec->orig_len = call->ret;
	rec->captured_len = 0;
	rec->direction = call->direction;
	rec->missing = call->missing;
	rec->flags = call->flags;
}

/*
 * One function per size class: the verifier wants every reservation's size as a constant. Inlined, since a call's fields
 * would else be written to the stack to be read again.
 */
#define EMIT_CLASS(bytes) \
static __always_inline int emit_##bytes(struct call *call, struct buffer *buf, __u32 want) \
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
static __always_inline int emit_vector_##bytes(struct call *call, struct buffer *buf, __u32 want) \
{ \
	struct { \
		struct chunk_record rec; \
		__u8 payload[2 * bytes]; \
	} *chunk; \
	__u64 len = 0, skip = buf->skip; \
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
		if (segment.iov_len - skip < part) \
			part = segment.iov_len - skip; \
		asm volatile("" : "+r"(len), "+r"(part)); \
		if (len > bytes || part > bytes) \
			break; \
		if (bpf_probe_read_user(chunk->payload + len, part, segment.iov_base + skip)) \
			break; \
		len += part; \
		skip = 0; \
	} \
	return submit_chunk(&chunk->rec, len, want); \
}

/* Before it is submitted: a reader never sees a record that was not counted. */
static __always_inline void count_chunk(struct cpu_counters *c, struct chunk_record *rec)
{
	add_to(c, COUNTER_DATA_SUBMITTED, 1);
	if (rec->hdr.kind != RECORD_CHUNK)
		return;
	add_to(c, COUNTER_SOCKET_CALLS, 1);
	add_to(c, COUNTER_ORIGINAL_BYTES, rec->orig_len);
	add_to(c, COUNTER_CAPTURED_BYTES, rec->captured_len);
}

static __always_inline int submit_chunk(struct chunk_record *rec, __u64 len, __u32 want)
{
	struct cpu_counters *c = own_counters();

	if (len < want && rec->missing == MISSING_NOTHING)
		rec->missing = len ? MISSING_SEGMENTS : MISSING_UNREADABLE;
	if (rec->missing != MISSING_NOTHING)
		count(COUNTER_MISSING + rec->missing);
	rec->captured_len = len;
	rec->hdr.len = sizeof(*rec) + len;
	if (c)
		count_chunk(c, rec);
	bpf_ringbuf_submit(rec, wakeup_flag(c ? c->slot[COUNTER_DATA_SUBMITTED] : 0));
	return len;
}

EMIT_CLASS(128)
EMIT_CLASS(512)
EMIT_CLASS(1024)
EMIT_CLASS(4096)
EMIT_CLASS(16384)

static __always_inline int emit_length(struct call *call, __u32 kind)
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
static __always_inline __u32 width(struct call *call)
{
	struct conn_state *conn = call->conn;

	if (conn->direction != call->direction) {
		conn->direction = call->direction;
		conn->turn_captured = 0;
		call->flags |= CHUNK_TURN_START;
		return cfg_turn_bytes;
	}
	return conn->turn_captured < TURN_BUDGET_BYTES ? cfg_call_bytes : TAIL_BYTES;
}

/* The ring was full. */
static __always_inline void count_lost(struct call *call)
{
	struct cpu_counters *c = own_counters();

	if (!c)
		return;
	add_to(c, COUNTER_DATA_RING_FULL, 1);
	if (!call->ret)
		return; /* an end, no call that moved bytes */
	add_to(c, COUNTER_SOCKET_CALLS, 1);
	add_to(c, COUNTER_ORIGINAL_BYTES, call->ret);
}

static __always_inline int emit(struct call *call, struct buffer *buf)
{
	__u32 want;

	if (!call->ret)
		return emit_length(call, RECORD_EOF);
	want = width(call);
	if (want > call->ret)
		want = call->ret;
	if (call->missing == MISSING_NOTHING && want)
		return emit_payload(call, buf, want);
	return emit_length(call, RECORD_CHUNK);
}

static __always_inline void finish_call(struct call *call, struct buffer *buf)
{
	int captured = emit(call, buf);

	if (captured < 0)
		count_lost(call);
	else
		call->conn->turn_captured += captured;
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

/* 0: not TCP. */
static __always_inline __u16 tcp_protocol(struct sock *sk)
{
	__u16 protocol = sk->sk_protocol;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP)
		return 0;
	return is_inet(sk) ? protocol : 0;
}

/* What tcp_protocol said when the socket's names were kept; 0: they are not. */
static __always_inline __u16 kept_protocol(struct conn_state *conn)
{
	struct socket_id *kept = conn ? kept_id(conn) : NULL;

	if (!kept || !kept->cookie)
		return 0;
	return kept->source == SOURCE_MPTCP ? IPPROTO_MPTCP : IPPROTO_TCP;
}

/* Is it a call of somebody who is observed? Nearly all of a machine are not, so nothing else is asked before. */
static __always_inline bool is_observed(struct sock *sk, int ret)
{
	__u32 tgid;
	__u8 state;

	if (ret < 0)
		return false;
	tgid = bpf_get_current_task_btf()->tgid;
	state = target_state(tgid);
	if (state == TARGET_OBSERVED)
		return true;
	if (state == TARGET_UNKNOWN || state == TARGET_IGNORED)
		state = match_accepted(sk, tgid, state);
	if ((state == TARGET_UNKNOWN || state == TARGET_WANTED) && tcp_protocol(sk))
		count(COUNTER_UNDECIDED);
	return state == TARGET_OBSERVED;
}

/* May these bytes be looked at, and now? Counts what may not. */
static __always_inline bool is_permitted(__u64 now_ns)
{
	if (!policy_permits()) {
		count(COUNTER_POLICY_DENIED);
		return false;
	}
	if (is_silenced(now_ns)) {
		count(COUNTER_SILENCED);
		return false;
	}
	return true;
}

/* A recv of 0 is told where it says that the stream ended. */
static __always_inline bool is_end(struct sock *sk, __u8 direction)
{
	return direction == DIRECTION_RX && sk->sk_shutdown & RCV_SHUTDOWN;
}

/*
 * Which bytes of which connection an observed call moved that returned `ret`. False if it is not to be told, or can't be:
 * for want of memory for what is kept of a connection, as lost as by a full ring, or of a name for the socket.
 */
static __always_inline bool begin_call(struct call *call, struct sock *sk, int ret, __u8 direction)
{
	__u16 protocol;

	if (!ret && !is_end(sk, direction))
		return false;
	__builtin_memset(call, 0, sizeof(*call));
	call->sk = sk;
	call->ret = ret;
	call->direction = direction;
	call->conn = known_conn(sk);
	protocol = kept_protocol(call->conn) ?: tcp_protocol(sk);
	if (!protocol)
		return false;
	call->ktime_ns = bpf_ktime_get_boot_ns();
	if (!is_permitted(call->ktime_ns))
		return false;
	if (!call->conn)
		call->conn = conn_of(sk);
	if (!call->conn) {
		count(cookie_of(sk) ? COUNTER_DATA_RING_FULL : COUNTER_UNNAMED_SOCKET);
		return false;
	}
	call->conn->is_told = true;
	find_offset(call, protocol);
	return true;
}

#endif
