/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What happened to a process, and what the loader could read about it. */
#ifndef RATATOSK_ABI_PROCESS_H
#define RATATOSK_ABI_PROCESS_H

#include "header.h"

struct process_record {
	struct record_header hdr;
	__u64 cgroup_id;	/* of the default hierarchy, 0 if none */
	__u64 exe_ino;		/* inode of the executable, 0 if none */
	__u64 parent_start_ns;
	__u32 exe_dev;		/* kernel-internal dev_t of that inode's file system */
	__u32 uid;		/* effective, in the initial user namespace */
	__u32 parent_tgid;
	__u8 target_state;	/* enum target_state after this event */
	__u8 reserved[3];
	__u8 comm[16];		/* NUL-terminated */
};

enum process_readable {
	READABLE_EXE = 1,
	READABLE_CMDLINE = 2,
	READABLE_CGROUP = 4,
	READABLE_ENVIRONMENT = 8,	/* looked at; what follows may still be empty */
	READABLE_BINARY = 16,		/* looked at: `language` says what was found */
};

/* By facts of the binary and of what it has mapped. */
enum process_language {
	LANGUAGE_UNKNOWN = 0,	/* nobody looked, or nothing could be read */
	LANGUAGE_GENERIC = 1,	/* looked at, and none of the others */
	LANGUAGE_GO = 2,
	LANGUAGE_JAVA = 3,
	LANGUAGE_DOTNET = 4,
	LANGUAGE_PYTHON = 5,
	LANGUAGE_RUBY = 6,
	LANGUAGE_NODEJS = 7,
	LANGUAGE_DENO = 8,
	LANGUAGE_BUN = 9,
	LANGUAGE_PHP = 10,
	LANGUAGE_ERLANG = 11,
	LANGUAGE_RUST = 12,
	LANGUAGE_CPP = 13,
	LANGUAGE_SWIFT = 14,
	LANGUAGE_MAX,
};

/*
 * `exe_len` + `cmdline_len` + `cgroup_len` + `environment_len` bytes follow, in this order. Of the environment only
 * OTEL_SERVICE_NAME, OTEL_SERVICE_NAMESPACE and OTEL_RESOURCE_ATTRIBUTES are ever told, as NAME=value with a NUL each.
 */
struct process_info_record {
	struct record_header hdr;
	__u64 handle;		/* opaque name of this process towards the loader, never reused in an epoch */
	__u64 cgroup_id;
	__u64 exe_ino;
	__u32 exe_dev;
	__u32 uid;
	__u32 parent_tgid;
	__u16 exe_len;
	__u16 cmdline_len;	/* arguments separated by NUL, at most 4096 */
	__u16 cgroup_len;	/* content of /proc/<pid>/cgroup, at most 4096 */
	__u8 target_state;	/* enum target_state when this was written */
	__u8 readable;		/* enum process_readable: which of these could be read */
	__u16 environment_len;	/* at most 2048 */
	__u8 language;		/* enum process_language */
	__u8 reserved;
	__u8 comm[16];
};

#endif
