// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Family `inet_session`: what family `inet` sees, by kprobe sessions.
 *
 * A fexit program that is preempted makes every other call on its CPU a miss; a kprobe program runs with preemption off.
 * Entry keeps the arguments, since a return has none left.
 */
#define CARRIER_KPROBE
#include "message.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Linux 7.0 gave it the context. */
extern bool bpf_session_is_return(void *ctx) __ksym __weak;
extern bool bpf_session_is_return___before_7_0(void) __ksym __weak;

/* The call that a task is in. */
struct pending_call {
	__u64 sock;
	__u64 msg;
	__u32 flags;
	__u32 is_set;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct pending_call);
} pending_by_task SEC(".maps");

static __always_inline bool is_return(void *ctx)
{
	if (bpf_ksym_exists(bpf_session_is_return))
		return bpf_session_is_return(ctx);
	return bpf_session_is_return___before_7_0();
}

/* What was decided against is not worth its return, unless the port of its connection decides otherwise. */
static __always_inline bool is_worthless(__u64 sock)
{
	__u8 state = target_state(bpf_get_current_pid_tgid() >> 32);
	struct sock *sk;

	if (state != TARGET_IGNORED)
		return state == TARGET_OWN || state == TARGET_DENIED;
	sk = TYPED(struct socket, sock)->sk;
	return !sk || mode_of_port(TYPED(struct sock, sk)->__sk_common.skc_num) == PORT_NONE;
}

static __always_inline struct pending_call *pending(__u64 flags)
{
	return bpf_task_storage_get(&pending_by_task, bpf_get_current_task_btf(), 0, flags);
}

/* 1: the return is not wanted. */
static __always_inline int on_entry(struct pt_regs *ctx, __u32 flags)
{
	struct pending_call *call;

	if (is_worthless(PT_REGS_PARM1(ctx)) || flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
		return 1;
	call = pending(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!call) {
		count(COUNTER_DATA_RING_FULL); /* no memory for 24 bytes: as lost as by a full ring */
		return 1;
	}
	call->sock = PT_REGS_PARM1(ctx);
	call->msg = PT_REGS_PARM2(ctx);
	call->flags = flags;
	call->is_set = 1;
	return 0;
}

static __always_inline void tell(struct pending_call *call, int ret, __u8 direction)
{
	struct sock *sk = TYPED(struct socket, call->sock)->sk;

	tell_message(sk, TYPED(struct msghdr, call->msg), call->flags, ret, direction);
}

static __always_inline int on_exit(struct pt_regs *ctx, __u8 direction)
{
	struct pending_call *call = pending(0);

	if (!call)
		return 0;
	if (!call->is_set) {
		count(COUNTER_NESTED_CALL); /* the inner one took what entry kept */
		return 0;
	}
	call->is_set = 0;
	tell(call, (int)PT_REGS_RC(ctx), direction);
	return 0;
}

SEC("kprobe.session")
int kprobe_session__recvmsg(struct pt_regs *ctx)
{
	return is_return(ctx) ? on_exit(ctx, DIRECTION_RX) : on_entry(ctx, (__u32)PT_REGS_PARM4(ctx));
}

SEC("kprobe.session")
int kprobe_session__sendmsg(struct pt_regs *ctx)
{
	return is_return(ctx) ? on_exit(ctx, DIRECTION_TX) : on_entry(ctx, 0);
}
