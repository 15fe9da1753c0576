// SPDX-License-Identifier: Apache-2.0
/*
 * A server and a client of HTTP/1.1 that note, by CLOCK_BOOTTIME in nanoseconds, what surely was before and after each
 * call that matters.
 *
 * usage: peer PORT LOG server
 *        peer PORT LOG client CONNECTIONS BURSTS
 * logs   server ID after_first_read before_last_write after_last_write
 *        client ID before_first_write after_first_write before_last_read after_last_read
 * where ID is the path without its slash. A client ends with 0 once all is answered.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER 16384
#define READS 512
#define PIPELINE 4
#define ALONE 3
#define MAX_BODY 1900
#define SMALL_BODY 60

typedef unsigned long long u64;

static int log_fd;
static int port;
static int bursts;

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* A read: up to which byte of the stream, and when. */
struct reading {
	u64 end, before, after;
};

/* The bytes of a connection that were not used yet, and its last readings. */
struct stream {
	int fd;
	char bytes[BUFFER + 1];
	size_t len;
	u64 used, end;
	struct reading readings[READS];
	unsigned count, seed;
};

/* Reads of many sizes: some bring less than a message, some bring several. */
static int fill(struct stream *s)
{
	static const size_t sizes[] = { 48, 300, 4096, 4096 };
	size_t size = sizes[rand_r(&s->seed) % 4];
	struct reading *r = &s->readings[s->count++ % READS];
	ssize_t got;

	must(s->len + size <= BUFFER, "room");
	r->before = now();
	got = recv(s->fd, s->bytes + s->len, size, 0);
	r->after = now();
	if (got <= 0)
		return 0;
	s->len += got;
	s->end += got;
	r->end = s->end;
	s->bytes[s->len] = 0;
	return 1;
}

/* The reading that brought this byte of the stream. */
static struct reading *reading_of(struct stream *s, u64 byte)
{
	unsigned first = s->count > READS ? s->count - READS : 0;

	for (unsigned i = first; i < s->count; i++)
		if (s->readings[i % READS].end > byte)
			return &s->readings[i % READS];
	must(0, "a reading");
	return NULL;
}

static void take(struct stream *s, size_t len)
{
	memmove(s->bytes, s->bytes + len, s->len - len + 1);
	s->len -= len;
	s->used += len;
}

/* Length of the message at the front, head and body; 0 at the end of the stream. */
static size_t message(struct stream *s)
{
	char *end, *length;

	s->bytes[s->len] = 0;
	while (!(end = strstr(s->bytes, "\r\n\r\n")))
		if (!fill(s))
			return 0;
	length = strstr(s->bytes, "Content-Length: ");
	size_t whole = end + 4 - s->bytes + (length && length < end ? atoi(length + 16) : 0);
	while (s->len < whole)
		if (!fill(s))
			return 0;
	return whole;
}

static void send_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

		must(sent > 0, "send");
		bytes += sent;
		len -= sent;
	}
}

static void note(const char *line)
{
	must(write(log_fd, line, strlen(line)) == (ssize_t)strlen(line), "log");
}

/* Several small responses fit into what is captured of one read; a large one comes alone. */
static unsigned body_of(struct stream *s, const char *id)
{
	const char *number = strrchr(id, '-');

	return rand_r(&s->seed) % (number && atoi(number + 1) >= ALONE ? SMALL_BODY : MAX_BODY);
}

/* In one to three writes. */
static void answer(struct stream *s, const char *id, u64 after_read)
{
	char text[256 + MAX_BODY], line[256];
	unsigned parts = 1 + rand_r(&s->seed) % 3, body = body_of(s, id);
	int head = snprintf(text, 256, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n", body);
	size_t len = head + body, piece = len / parts;
	u64 before, after;

	memset(text + head, 'a', body);
	for (unsigned i = 1; i < parts; i++)
		send_all(s->fd, text + (i - 1) * piece, piece);
	before = now();
	send_all(s->fd, text + (parts - 1) * piece, len - (parts - 1) * piece);
	after = now();
	snprintf(line, sizeof(line), "server %s %llu %llu %llu\n", id, after_read, before, after);
	note(line);
}

static struct stream *stream_of(int fd, unsigned seed)
{
	struct stream *s = calloc(1, sizeof(*s));
	int one = 1;

	must(s != NULL, "memory");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	s->fd = fd;
	s->seed = seed;
	return s;
}

static void *serve(void *argument)
{
	struct stream *s = stream_of((int)(long)argument, (unsigned)(long)argument);
	char id[128];
	size_t len;

	while ((len = message(s))) {
		u64 after_read = reading_of(s, s->used)->after;

		must(sscanf(s->bytes, "%*s /%127s", id) == 1, "request line");
		take(s, len);
		answer(s, id, after_read);
	}
	close(s->fd);
	free(s);
	return NULL;
}

static struct sockaddr_in address(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static void accept_all(void)
{
	struct sockaddr_in a = address();
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	must(!bind(fd, (void *)&a, sizeof(a)) && !listen(fd, 64), "listen");
	for (;;) {
		int connection = accept(fd, NULL, NULL);
		pthread_t thread;

		must(connection >= 0, "accept");
		must(!pthread_create(&thread, NULL, serve, (void *)(long)connection), "thread");
		pthread_detach(thread);
	}
}

struct asked {
	char id[64];
	u64 before, after;
};

static size_t request(char *text, size_t room, struct asked *a, unsigned body)
{
	int head = body ? snprintf(text, room, "POST /%s HTTP/1.1\r\nHost: t\r\nContent-Length: %u\r\n\r\n", a->id, body) :
			  snprintf(text, room, "GET /%s HTTP/1.1\r\nHost: t\r\n\r\n", a->id);

	memset(text + head, 'q', body);
	return head + body;
}

/* One request in one write or, cut at `at`, in two. */
static void ask(struct stream *s, struct asked *a, unsigned body, size_t at)
{
	char text[512 + MAX_BODY];
	size_t len = request(text, 512, a, body);

	if (at == 0 || at > len)
		at = len;
	a->before = now();
	send_all(s->fd, text, at);
	a->after = now();
	if (at < len)
		usleep(rand_r(&s->seed) % 300);
	send_all(s->fd, text + at, len - at);
}

static void ask_at_once(struct stream *s, struct asked *all)
{
	char text[PIPELINE * 512];
	size_t len = 0;
	u64 before;

	for (int i = 0; i < PIPELINE; i++)
		len += request(text + len, 512, &all[i], 0);
	before = now();
	send_all(s->fd, text, len);
	for (int i = 0; i < PIPELINE; i++) {
		all[i].before = before;
		all[i].after = now();
	}
}

static void hear(struct stream *s, struct asked *a)
{
	size_t len = message(s);
	struct reading *r;
	char line[256];

	must(len > 0, "response");
	r = reading_of(s, s->used + len - 1);
	snprintf(line, sizeof(line), "client %s %llu %llu %llu %llu\n", a->id, a->before, a->after, r->before, r->after);
	take(s, len);
	note(line);
}

/* A burst: one request in one write, one in two, one with a body, then several at once. */
static void burst(struct stream *s, long connection, int number)
{
	struct asked all[ALONE + PIPELINE];

	for (int i = 0; i < ALONE + PIPELINE; i++)
		snprintf(all[i].id, sizeof(all[i].id), "time-%ld-%d-%d", connection, number, i);
	ask(s, &all[0], 0, 0);
	hear(s, &all[0]);
	ask(s, &all[1], 0, 1 + rand_r(&s->seed) % 30);
	hear(s, &all[1]);
	ask(s, &all[2], 1 + rand_r(&s->seed) % (MAX_BODY - 1), 70);
	hear(s, &all[2]);
	ask_at_once(s, all + ALONE);
	for (int i = ALONE; i < ALONE + PIPELINE; i++)
		hear(s, &all[i]);
}

static void *run(void *argument)
{
	struct sockaddr_in a = address();
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct stream *s = stream_of(fd, 1000 + (unsigned)(long)argument);

	must(!connect(fd, (void *)&a, sizeof(a)), "connect");
	for (int number = 0; number < bursts; number++)
		burst(s, (long)argument, number);
	close(fd);
	free(s);
	return NULL;
}

int main(int argc, char **argv)
{
	must(argc == 4 || argc == 6, "usage");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	port = atoi(argv[1]);
	log_fd = open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644);
	must(log_fd >= 0, argv[2]);
	if (argc == 4)
		accept_all();
	int connections = atoi(argv[4]);
	pthread_t threads[connections];

	bursts = atoi(argv[5]);
	for (long i = 0; i < connections; i++)
		must(!pthread_create(&threads[i], NULL, run, (void *)i), "thread");
	for (long i = 0; i < connections; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
