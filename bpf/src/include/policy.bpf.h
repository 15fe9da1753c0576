/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What may be observed at all, by what an administrator said before anything was loaded. Constants and maps are frozen
 * at start: no process, not even a hijacked `server`, can widen them. Target states only narrow what they permit.
 */
#ifndef RATATOSK_POLICY_BPF_H
#define RATATOSK_POLICY_BPF_H

#include "maps.bpf.h"

/* Entries of each list: a policy is written by people. */
#define POLICY_ENTRIES 1024
/* Depth to which ancestors of a cgroup are looked at; systemd and Kubernetes nest 5 deep. */
#define CGROUP_LEVELS 10

/* The loader may look at itself: its self-test has to pass under every policy. */
const volatile __u32 cfg_loader_tgid = 0;
const volatile bool cfg_policy_any_uid = true;
const volatile bool cfg_policy_any_cgroup = true;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__uint(max_entries, POLICY_ENTRIES);
	__type(key, __u32);
	__type(value, __u8);
} policy_uids SEC(".maps");

/* By the id of the cgroup itself or of one of its ancestors. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__uint(max_entries, POLICY_ENTRIES);
	__type(key, __u64);
	__type(value, __u8);
} policy_cgroups SEC(".maps");

static __always_inline bool permits_uid(void)
{
	__u32 uid;

	if (cfg_policy_any_uid)
		return true; /* asking for the uid costs a walk through the user namespace's map */
	uid = (__u32)bpf_get_current_uid_gid();
	return bpf_map_lookup_elem(&policy_uids, &uid);
}

static __always_inline bool permits_cgroup(void)
{
	if (cfg_policy_any_cgroup)
		return true;
	for (int level = 0; level < CGROUP_LEVELS; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			break; /* deeper than the task's own */
		if (bpf_map_lookup_elem(&policy_cgroups, &id))
			return true;
	}
	return false;
}

static __always_inline bool policy_permits(void)
{
	return (permits_uid() && permits_cgroup()) || bpf_get_current_task_btf()->tgid == cfg_loader_tgid;
}

#endif
