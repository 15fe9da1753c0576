// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* fork, exec, exit, listen, connect, close; and, by iterators, what was there before. */
#include "control.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Kprobe programs can't give a socket its cookie, so it gets one as soon as it is seen here. */
const volatile bool cfg_names_sockets = false;

static __always_inline void name_socket(struct sock *sk)
{
	if (cfg_names_sockets)
		cookie_of(sk);
}

/* What the payload probes keep of a connection, wherever they can. */
static __always_inline struct conn_state *conn_kept(struct sock *sk, bool create)
{
	if (!cfg_names_sockets)
		return create ? conn_of(sk) : known_conn(sk);
	return create ? conn_of_cookie(cookie_of(sk)) : known_conn_by_cookie(cookie_of(sk));
}

/* The socket may connect again, to somewhere else. */
static __always_inline void forget_id(struct conn_state *conn)
{
	if (!cfg_names_sockets)
		kept_id(conn)->cookie = 0;
}

static __always_inline void emit_process(__u16 kind, struct task_struct *task, struct file *exe, __u8 state,
					 bool urgent)
{
	struct process_record *rec = reserve_control(sizeof(*rec));

	if (!rec)
		return;
	fill_process(rec, kind, task, exe);
	rec->target_state = state;
	submit_control(rec, urgent);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(tp_btf__sched_process_fork, struct task_struct *parent, struct task_struct *child)
{
	__u8 state;

	if (child->pid != child->tgid)
		return 0; /* a thread: same process */
	state = target_state(parent->tgid);
	set_target_state(child->tgid, state);
	emit_process(RECORD_FORK, child, exe_of(child), state, false);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(tp_btf__sched_process_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct file *exe = bprm->file;
	struct inode *inode = exe->f_inode;
	__u8 state = exe_decision(inode->i_ino, inode->i_sb->s_dev, cgroup_of(task));

	set_target_state(task->tgid, state);
	emit_process(RECORD_EXEC, task, exe, state, true);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(tp_btf__sched_process_exit, struct task_struct *task)
{
	if (task->signal->live.counter > 0)
		return 0; /* other threads live on */
	/* the group's last thread may not be its leader, but the record names the process by both */
	emit_process(RECORD_EXIT, task, NULL, target_state(task->tgid), false);
	set_target_state(task->tgid, TARGET_UNKNOWN);
	return 0;
}

static __always_inline void emit_listen(struct sock *sk, struct task_struct *task)
{
	emit_matched(sk, task, match_port(task->tgid, sk->__sk_common.skc_num));
}

/* `current` is whoever ended it, or an interrupted stranger: these records name the owner by what was kept. */
static __always_inline void emit_conn(struct sock *sk, __u16 kind, __u8 offset_kind, struct conn_state *conn,
				      __be16 local_port, __u32 tx_offset, __u32 rx_offset)
{
	struct conn_record *rec = reserve_control(sizeof(*rec));

	if (!rec)
		return;
	__builtin_memset(rec, 0, sizeof(*rec));
	rec->hdr.len = sizeof(*rec);
	rec->hdr.fixed_len = sizeof(*rec);
	rec->hdr.kind = kind;
	rec->hdr.ktime_ns = bpf_ktime_get_boot_ns();
	if (conn) {
		rec->hdr.tgid = conn->tgid;
		rec->hdr.task_start_ns = conn->task_start_ns;
	}
	fill_socket(&rec->sock, sk, SOURCE_TCP, offset_kind);
	rec->sock.local_port = bpf_ntohs(local_port); /* skc_num is 0 once the port is given back */
	rec->tx_offset = tx_offset;
	rec->rx_offset = rx_offset;
	submit_control(rec, false);
}

static __always_inline __be16 source_port(struct tcp_sock *tp)
{
	return tp->inet_conn.icsk_inet.inet_sport;
}

static __always_inline void on_connecting(struct sock *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct conn_state *conn;

	if (target_state(task->tgid) != TARGET_OBSERVED)
		return;
	conn = conn_kept(sk, true);
	if (!conn)
		return; /* no memory: the connection is told by its bytes all the same */
	conn->tgid = task->tgid;
	conn->task_start_ns = task->group_leader->start_boottime;
	conn->is_told = true;
}

/* Whoever works on it is wanted, whether it listened itself or was given the socket. */
static __always_inline void on_accepted(struct sock *sk)
{
	struct conn_state *conn;

	if (mode_of_port(sk->__sk_common.skc_num) == PORT_NONE)
		return;
	conn = conn_kept(sk, true);
	if (conn)
		conn->is_accepted = true;
}

static __always_inline void on_closed(struct sock *sk, struct tcp_sock *tp)
{
	struct conn_state *conn = conn_kept(sk, false);
	__u32 tx_offset = tp->write_seq;

	if (!conn || !conn->is_told)
		return; /* never observed */
	barrier_var(tx_offset); /* or clang selects the pointer, which the verifier refuses, and not the value */
	if (conn->has_tx_final)
		tx_offset = conn->tx_final;
	emit_conn(sk, RECORD_CLOSE, OFFSET_TCP_SEQ, conn, source_port(tp), tx_offset, tp->copied_seq - consumed_fin(sk, tp));
	forget_id(conn);
}

/* Our FIN is about to be sent, and will count one in write_seq. */
static __always_inline void keep_final_offset(struct sock *sk, struct tcp_sock *tp)
{
	struct conn_state *conn = conn_kept(sk, false);

	if (!conn)
		return;
	conn->tx_final = tp->write_seq;
	conn->has_tx_final = 1;
}

static __always_inline void on_connected(struct sock *sk, struct tcp_sock *tp)
{
	struct conn_state *conn = conn_kept(sk, false);

	if (conn)
		emit_conn(sk, RECORD_CONNECT, OFFSET_TCP_SEQ, conn, source_port(tp), tp->write_seq, tp->copied_seq);
}

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tp_btf__inet_sock_set_state, struct sock *sk, int oldstate, int newstate)
{
	struct tcp_sock *tp;

	if (!is_inet(sk))
		return 0;
	if (newstate == TCP_ESTABLISHED)
		name_socket(sk);
	if (sk->sk_protocol != IPPROTO_TCP)
		return 0;
	if (newstate == TCP_LISTEN) {
		emit_listen(sk, bpf_get_current_task_btf());
		return 0;
	}
	if (oldstate == TCP_LISTEN) {
		emit_conn(sk, RECORD_CLOSE, OFFSET_NONE, NULL, 0, 0, 0);
		return 0;
	}
	if (newstate == TCP_SYN_SENT) {
		on_connecting(sk);
		return 0;
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return 0; /* a request socket: not yet a connection */
	/* closing what was shut down already sets FIN_WAIT1 again, with our FIN counted */
	if ((newstate == TCP_FIN_WAIT1 || newstate == TCP_LAST_ACK) && oldstate != newstate)
		keep_final_offset(sk, tp);
	else if (newstate == TCP_CLOSE)
		on_closed(sk, tp);
	else if (newstate == TCP_ESTABLISHED && oldstate == TCP_SYN_SENT)
		on_connected(sk, tp);
	else if (newstate == TCP_ESTABLISHED && oldstate == TCP_SYN_RECV)
		on_accepted(sk);
	return 0;
}

/*
 * Nothing but a cookie, so that hardly anything can interrupt it: a program that is interrupted half-way misses what
 * happens on its CPU meanwhile, and a socket without a cookie can't be told. The program above tries as well.
 */
SEC("?tp_btf/inet_sock_set_state")
int BPF_PROG(tp_btf__name_socket, struct sock *sk, int oldstate, int newstate)
{
	if (newstate == TCP_ESTABLISHED)
		cookie_of(sk);
	return 0;
}

/* What exists already. The attacher reads these iterators to their end; records go through the control ring. */
SEC("iter/task")
int iter__task(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task || task->pid != task->tgid || task->flags & PF_KTHREAD)
		return 0;
	emit_process(RECORD_PROCESS, task, exe_of(task), target_state(task->tgid), false);
	return 0;
}

SEC("iter/task_file")
int iter__task_file(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *sock;
	struct sock *sk;

	if (!task || !file || task->pid != task->tgid)
		return 0;
	sock = bpf_sock_from_file(file);
	if (!sock)
		return 0; /* not a socket */
	sk = sock->sk;
	if (!sk || !is_inet(sk))
		return 0;
	name_socket(sk);
	if (sk->__sk_common.skc_state == TCP_LISTEN)
		emit_listen(sk, task);
	return 0;
}
