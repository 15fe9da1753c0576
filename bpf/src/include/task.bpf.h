/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who: headers and process records from tasks. */
#ifndef RATATOSK_TASK_BPF_H
#define RATATOSK_TASK_BPF_H

#include "target.bpf.h"

/* Of a record of `len` bytes without payload. */
static __always_inline void fill_header(struct record_header *hdr, __u16 kind, __u16 len, struct task_struct *task,
					__u64 ktime_ns)
{
	hdr->len = len;
	hdr->kind = kind;
	hdr->fixed_len = len;
	hdr->ktime_ns = ktime_ns;
	hdr->tgid = task->tgid;
	hdr->tid = task->pid;
	hdr->task_start_ns = task->group_leader->start_boottime;
}

static __always_inline __u64 cgroup_of(struct task_struct *task)
{
	return task->cgroups->dfl_cgrp->kn->id;
}

static __always_inline void fill_process(struct process_record *rec, __u16 kind, struct task_struct *task,
					 struct file *exe)
{
	struct task_struct *parent = task->real_parent;

	fill_header(&rec->hdr, kind, sizeof(*rec), task, bpf_ktime_get_boot_ns());
	rec->cgroup_id = cgroup_of(task);
	rec->exe_ino = exe ? exe->f_inode->i_ino : 0;
	rec->exe_dev = exe ? exe->f_inode->i_sb->s_dev : 0;
	rec->parent_start_ns = parent->group_leader->start_boottime;
	rec->uid = task->cred->euid.val;
	rec->parent_tgid = parent->tgid;
	__builtin_memset(rec->reserved, 0, sizeof(rec->reserved));
	__builtin_memcpy(rec->comm, task->comm, sizeof(rec->comm));
}

static __always_inline struct file *exe_of(struct task_struct *task)
{
	struct mm_struct *mm = task->mm;

	return mm ? mm->exe_file : NULL; /* a kernel thread has none */
}

#endif
