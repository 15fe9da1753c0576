// SPDX-License-Identifier: Apache-2.0
/*
 * Servers whose sockets outlive an exec.
 *
 * usage: spawning_server PORT LOG connection   every connection is served by a process of its own: vfork, then exec
 *        spawning_server PORT LOG listener     listens, then becomes another process image that accepts
 * logs   path method status request response
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFER 4096

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void answer(int fd, int log, const char *request)
{
	static const char body[] = "spawned";
	char method[32], path[512], text[1024];
	int len;

	must(sscanf(request, "%31s %511s", method, path) == 2, "request line");
	len = snprintf(text, sizeof(text), "%s %s 200 0 %zu\n", path, method, strlen(body));
	must(write(log, text, len) == len, "log");
	len = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
	must(write(fd, text, len) == len, "response");
}

/* One request per read: the clients of the test wait for each answer. */
static void serve(int fd, int log)
{
	char request[BUFFER + 1];
	ssize_t got;

	while ((got = read(fd, request, BUFFER)) > 0) {
		request[got] = 0;
		answer(fd, log, request);
	}
	close(fd);
}

static int listening(int port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	must(!bind(fd, (void *)&address, sizeof(address)), "bind");
	must(!listen(fd, 64), "listen");
	return fd;
}

static void accept_all(int listener, int log)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		must(fd >= 0, "accept");
		serve(fd, log);
	}
}

static void spawn_all(int listener, const char *log)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL);
		char number[16];
		pid_t child;

		must(fd >= 0, "accept");
		snprintf(number, sizeof(number), "%d", fd);
		child = vfork();
		if (child == 0) {
			execl("/proc/self/exe", "spawned", "serve", number, log, NULL);
			_exit(1);
		}
		must(child > 0, "vfork");
		close(fd);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}

int main(int argc, char **argv)
{
	char number[16];
	int listener;

	must(argc == 4, "usage");
	if (!strcmp(argv[1], "serve")) {
		serve(atoi(argv[2]), open(argv[3], O_WRONLY | O_APPEND));
		return 0;
	}
	if (!strcmp(argv[1], "accept")) {
		accept_all(atoi(argv[2]), open(argv[3], O_WRONLY | O_APPEND));
		return 0;
	}
	must(close(open(argv[2], O_WRONLY | O_CREAT | O_APPEND, 0644)) == 0, argv[2]);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	listener = listening(atoi(argv[1]));
	if (!strcmp(argv[3], "connection"))
		spawn_all(listener, argv[2]);
	/* a moment in which it listens and is seen: the exec below makes another program of it */
	usleep(300000);
	snprintf(number, sizeof(number), "%d", listener);
	execl("/proc/self/exe", "spawned", "accept", number, argv[2], NULL);
	return 1;
}
