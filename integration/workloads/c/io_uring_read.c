// SPDX-License-Identifier: Apache-2.0
/*
 * An io_uring recv on a TCP socket that completes at the end of a read() of a file in the same task.
 *
 * The probe on the socket then sees the registers of the read(): its buffer holds bytes of the file, not of the socket.
 * An agent that trusts them sends file contents to its backend. Raw system calls, so that liburing is not needed.
 *
 * usage: io_uring_read PORT FILE ROUNDS
 * ends with 0 after ROUNDS exchanges, 77 if the kernel gives no io_uring, 1 on any other failure
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIP 77
#define READ_BYTES 64
#define SOCKET_BYTES 512

struct ring {
	int fd;
	struct io_uring_params params;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
};

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void *map(int fd, size_t bytes, off_t offset)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);

	must(at != MAP_FAILED, "mmap of the ring");
	return at;
}

static void ring_open(struct ring *ring)
{
	struct io_uring_params *p = &ring->params;

	memset(p, 0, sizeof(*p));
	ring->fd = syscall(SYS_io_uring_setup, 4, p);
	if (ring->fd < 0) {
		perror("io_uring_setup");
		exit(SKIP);
	}
	ring->sq = map(ring->fd, p->sq_off.array + p->sq_entries * sizeof(unsigned int), IORING_OFF_SQ_RING);
	ring->cq = map(ring->fd, p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	ring->sqes = map(ring->fd, p->sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
}

static atomic_uint *word(char *base, unsigned int offset)
{
	return (atomic_uint *)(base + offset);
}

/* Nothing is there to receive yet: the kernel arms a poll, and the recv itself runs later as task work. */
static void submit_recv(struct ring *ring, int socket, char *buffer)
{
	struct io_uring_params *p = &ring->params;
	unsigned int tail = atomic_load(word(ring->sq, p->sq_off.tail));
	unsigned int index = tail & *word(ring->sq, p->sq_off.ring_mask);
	struct io_uring_sqe *sqe = &ring->sqes[index];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_RECV;
	sqe->fd = socket;
	sqe->addr = (unsigned long)buffer;
	sqe->len = SOCKET_BYTES;
	((unsigned int *)(ring->sq + p->sq_off.array))[index] = index;
	atomic_store(word(ring->sq, p->sq_off.tail), tail + 1);
	must(syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0) == 1, "io_uring_enter");
}

/* True once the recv has completed; its result is in *result. Looks at shared memory only: no system call but read(). */
static int completed(struct ring *ring, int *result)
{
	struct io_uring_params *p = &ring->params;
	unsigned int head = atomic_load(word(ring->cq, p->cq_off.head));
	struct io_uring_cqe *cqes = (struct io_uring_cqe *)(ring->cq + p->cq_off.cqes);

	if (head == atomic_load(word(ring->cq, p->cq_off.tail)))
		return 0;
	*result = cqes[head & *word(ring->cq, p->cq_off.ring_mask)].res;
	atomic_store(word(ring->cq, p->cq_off.head), head + 1);
	return 1;
}

static void read_file_until_received(struct ring *ring, int file, int *result)
{
	char bytes[READ_BYTES];

	while (!completed(ring, result)) {
		ssize_t got = read(file, bytes, sizeof(bytes));

		must(got >= 0, "read of the file");
		if (got == 0)
			must(lseek(file, 0, SEEK_SET) == 0, "lseek");
	}
}

static void client(int port, int rounds)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };
	char text[SOCKET_BYTES];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0, "connect");
	for (int i = 0; i < rounds; i++) {
		int bytes = snprintf(text, sizeof(text), "GET /r/uring-%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i);

		usleep(2000); /* the server is deep in its reads by now */
		must(write(fd, text, bytes) == bytes, "write of the client");
		must(read(fd, text, sizeof(text)) > 0, "read of the client");
	}
	exit(0);
}

static int listen_on(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	must(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0, "bind");
	must(listen(fd, 8) == 0, "listen");
	return fd;
}

int main(int argc, char **argv)
{
	static const char response[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	char received[SOCKET_BYTES];
	struct ring ring;

	must(argc == 4, "usage: io_uring_read PORT FILE ROUNDS");
	int port = atoi(argv[1]), rounds = atoi(argv[3]), status = 0;
	int file = open(argv[2], O_RDONLY), listener = listen_on(port);
	pid_t child = fork();

	must(file >= 0, "open of the file");
	must(child >= 0, "fork");
	if (child == 0)
		client(port, rounds);
	ring_open(&ring);
	int connection = accept(listener, NULL, NULL);

	must(connection >= 0, "accept");
	for (int i = 0; i < rounds; i++) {
		int result = 0;

		submit_recv(&ring, connection, received);
		read_file_until_received(&ring, file, &result);
		must(result > 0, "recv");
		must(write(connection, response, sizeof(response) - 1) > 0, "write of the server");
	}
	must(waitpid(child, &status, 0) == child, "wait for the client");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
