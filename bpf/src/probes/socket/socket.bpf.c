// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Family `socket`: bytes that cross TCP sockets, by the tracepoints sock_recv_length and sock_send_length.
 *
 * The tracepoint says which socket and how many bytes; the payload is read through the registers of the system
 * call the task is in. That is right only if the call is surely the one that moved these bytes: an io_uring
 * receive that completes while the task reads a file would else leak the file's bytes. So every doubt gives a
 * record with lengths and no payload, and is counted by its reason.
 */
#include "maps.bpf.h"
#include "task.bpf.h"
#include "sock.bpf.h"
#include "payload.bpf.h"
#include "policy.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* x86-64 system call numbers. */
enum {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDFILE = 40,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_SPLICE = 275,
	NR_RECVMMSG = 299,
	NR_SENDMMSG = 307,
	NR_IO_URING_ENTER = 426,
};

/* Where the bytes of the running call are, or why that is not known. */
static __always_inline __u8 find_buffer(struct buffer *buf, __u8 direction)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	bool is_rx = direction == DIRECTION_RX;
	__u64 nr;

	if (task->flags & (PF_IO_WORKER | PF_KTHREAD))
		return MISSING_IO_URING; /* its registers are nobody's */
	if (task->thread_info.status & TS_COMPAT)
		return MISSING_COMPAT_TASK;
	nr = regs->orig_ax;
	if (nr == NR_IO_URING_ENTER)
		return MISSING_IO_URING;
	/* -ENOSYS stands there from entry until the call has returned; after that, task work runs */
	if (regs->ax != (unsigned long)-ENOSYS)
		return MISSING_NOT_IN_CALL;
	if (nr == NR_SENDFILE || nr == NR_SPLICE)
		return MISSING_SENDFILE;
	if (nr == NR_SENDMMSG || nr == NR_RECVMMSG)
		return MISSING_SENDMMSG;
	buf->address = regs->si;
	buf->count = regs->dx;
	if (nr == (is_rx ? NR_READ : NR_WRITE) || nr == (is_rx ? NR_RECVFROM : NR_SENDTO)) {
		buf->is_vector = false;
		return MISSING_NOTHING;
	}
	buf->is_vector = true;
	if (nr == (is_rx ? NR_READV : NR_WRITEV))
		return MISSING_NOTHING;
	if (nr == (is_rx ? NR_RECVMSG : NR_SENDMSG))
		return vector_of_message(buf);
	return MISSING_NOT_IN_CALL;
}

static __always_inline __u8 find_payload(struct buffer *buf, struct sock *sk, __u8 source, __u8 direction, int flags)
{
	struct socket *sock = sk->sk_socket;

	if (!sock || !sock->file)
		return MISSING_KERNEL_SOCKET; /* some file system's or driver's: the caller's buffer is not its */
	if (source != SOURCE_TCP)
		return MISSING_ULP;
	if (flags & MSG_TRUNC)
		return MISSING_TRUNC;
	return find_buffer(buf, direction);
}

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
		tp = bpf_skc_to_tcp_sock(call->sk);
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

static __always_inline void emit(struct call *call, struct conn_state *conn, int msg_flags)
{
	struct buffer buf = {};
	__u32 want = width(call, conn);
	int captured;

	if (want > call->ret)
		want = call->ret;
	call->missing = find_payload(&buf, call->sk, call->source, call->direction, msg_flags);
	if (call->missing == MISSING_NOTHING && want)
		captured = emit_payload(call, &buf, want);
	else
		captured = emit_length(call, RECORD_CHUNK);
	if (captured < 0)
		count(COUNTER_DATA_RING_FULL);
	else
		conn->turn_captured += captured;
}

/* May these bytes be looked at? Counts every call that may not, but might have been wanted. */
static __always_inline bool is_observed(__u32 tgid)
{
	__u8 state = target_state(tgid);

	if (state == TARGET_UNKNOWN || state == TARGET_WANTED)
		count(COUNTER_UNDECIDED);
	if (state != TARGET_OBSERVED)
		return false;
	if (!policy_permits()) {
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

static __always_inline int on_call(struct sock *sk, int ret, int msg_flags, __u8 direction)
{
	struct call call = { .sk = sk, .ret = ret, .direction = direction };
	struct conn_state *conn;

	if (ret < 0 || !is_tcp(sk) || !is_observed(bpf_get_current_pid_tgid() >> 32))
		return 0;
	if (!ret && !(direction == DIRECTION_RX && sk->sk_shutdown & RCV_SHUTDOWN))
		return 0; /* an empty call; at the end of the stream a recv of 0 says so */
	conn = bpf_sk_storage_get(&conn_by_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!conn) {
		count(COUNTER_DATA_RING_FULL); /* no memory for 40 bytes: as lost as by a full ring */
		return 0;
	}
	find_offset(&call, conn);
	if (!ret) {
		if (emit_length(&call, RECORD_EOF) < 0)
			count(COUNTER_DATA_RING_FULL);
		return 0;
	}
	count(COUNTER_SOCKET_CALLS);
	count_add(COUNTER_ORIGINAL_BYTES, ret);
	emit(&call, conn, msg_flags);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(tp_btf__sock_recv_length, struct sock *sk, int ret, int flags)
{
	/* a peek moves nothing; the error queue and urgent data are no part of the stream */
	if (flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
		return 0;
	return on_call(sk, ret, flags, DIRECTION_RX);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(tp_btf__sock_send_length, struct sock *sk, int ret, int flags)
{
	return on_call(sk, ret, 0, DIRECTION_TX);
}
