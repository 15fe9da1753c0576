// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Family `socket`: bytes that cross TCP sockets, by the tracepoints sock_recv_length and sock_send_length.
 *
 * The tracepoint says which socket and how many bytes; the payload is read through the registers of the system
 * call the task is in. That is right only if the call is surely the one that moved these bytes: an io_uring
 * receive that completes while the task reads a file would else leak the file's bytes. So every doubt gives a
 * record with lengths and no payload, and is counted by its reason.
 */
#include "capture.bpf.h"

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

static __always_inline int on_call(struct sock *sk, int ret, int msg_flags, __u8 direction)
{
	struct buffer buf;
	struct call call;

	if (!is_observed(sk, ret) || !begin_call(&call, sk, ret, direction))
		return 0;
	__builtin_memset(&buf, 0, sizeof(buf));
	call.missing = find_payload(&buf, sk, call.source, direction, msg_flags);
	finish_call(&call, &buf);
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
