// An echo server of one thread: epoll, no library, no patience. An error that
// it does not expect, EINTR included, ends it.
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static void must(long ok, const char *what) {
	if (ok < 0) {
		perror(what);
		exit(1);
	}
}

int main(void) {
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), epoll = epoll_create1(EPOLL_CLOEXEC);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	must(bind(listener, (void *)&address, length), "bind");
	must(listen(listener, 1024), "listen");
	must(getsockname(listener, (void *)&address, &length), "getsockname");
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[64];
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
	printf("ready port %d\n", ntohs(address.sin_port));
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll, events, 64, -1);
		must(n, "epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd == listener) {
				int one = 1, got = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
				must(got, "accept4");
				must(setsockopt(got, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), "setsockopt");
				event.data.fd = got;
				must(epoll_ctl(epoll, EPOLL_CTL_ADD, got, &event), "epoll_ctl");
				continue;
			}
			char buffer[4096];
			ssize_t size = read(fd, buffer, sizeof buffer);
			if (size < 0 && errno == ECONNRESET)
				size = 0;
			must(size, "read");
			if (size == 0)
				must(close(fd), "close");
			else if (write(fd, buffer, size) != size)
				must(-1, "write");
		}
	}
}
