// creates makes descriptors by every call that the machine has, and writes into a
// file what each has made: "openat makes [3] of -1", "dup makes [4] of 3". Nothing
// is written of those that fail, or make none.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static char said[8192];

static void say(const char *format, ...) {
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(said + strlen(said), sizeof said - strlen(said), format, arguments);
	va_end(arguments);
}

static void one(const char *name, long fd) {
	if (fd >= 0)
		say("%s makes [%ld] of -1\n", name, fd);
}

static void copy(const char *name, long fd, int of) {
	if (fd != of)
		say("%s makes [%ld] of %d\n", name, fd, of);
}

#define ONE(name, ...) one(#name, syscall(SYS_##name, __VA_ARGS__))
#define COPY(name, of, ...) copy(#name, syscall(SYS_##name, of, __VA_ARGS__), of)

int main(int argc, char **argv) {
	int two[2];
	const int cwd = AT_FDCWD;
	const unsigned long long mask = 0;
	const struct { unsigned long long flags, mode, resolve; } how = {O_RDONLY, 0, 0};
	const struct { unsigned short family; char path[14]; } address = {1, {0, 's', 't', 'r', 'a', 'y'}};

	ONE(openat, cwd, "/dev/null", O_RDONLY);
	ONE(openat, cwd, "/no/such/file", O_RDONLY);
	ONE(openat2, cwd, "/dev/null", &how, sizeof how);
	ONE(socket, 1, 1, 0);
	ONE(socket, 1, 77, 0);
	syscall(SYS_socketpair, 1, 1, 0, two);
	say("socketpair makes [%d %d] of -1\n", two[0], two[1]);
	syscall(SYS_pipe2, two, O_NONBLOCK);
	say("pipe2 makes [%d %d] of -1\n", two[0], two[1]);
	COPY(dup, two[0], 0);
	COPY(dup3, two[1], 100, O_CLOEXEC);
	COPY(fcntl, 3, F_DUPFD, 50);
	COPY(fcntl, 3, F_DUPFD_CLOEXEC, 60);
	syscall(SYS_fcntl, 3, F_GETFD);
	syscall(SYS_fcntl, 3, F_SETFD, FD_CLOEXEC);
	ONE(epoll_create1, 0);
	ONE(eventfd2, 0, 0);
	long s = syscall(SYS_signalfd4, -1, &mask, 8, 0);
	one("signalfd4", s);
	syscall(SYS_signalfd4, s, &mask, 8, 0); // changes it
	ONE(timerfd_create, 1, 0);
	ONE(inotify_init1, 0);
	ONE(memfd_create, "memory", 0);
	ONE(pidfd_open, getpid(), 0);

	int listener = syscall(SYS_socket, 1, 1, 0);
	one("socket", listener);
	syscall(SYS_bind, listener, &address, 8);
	syscall(SYS_listen, listener, 2);
	int client = syscall(SYS_socket, 1, 1, 0);
	one("socket", client);
	syscall(SYS_connect, client, &address, 8);
	ONE(accept4, listener, 0, 0, 0);
	client = syscall(SYS_socket, 1, 1, 0);
	one("socket", client);
	syscall(SYS_connect, client, &address, 8);
	ONE(accept, listener, 0, 0);
#ifdef SYS_open
	ONE(open, "/dev/null", O_RDONLY);
	ONE(creat, "/dev/null", 0600);
	syscall(SYS_pipe, two);
	say("pipe makes [%d %d] of -1\n", two[0], two[1]);
	COPY(dup2, 3, 3);
	COPY(dup2, 3, 150);
	ONE(epoll_create, 1);
	ONE(eventfd, 0);
	ONE(signalfd, -1, &mask, 8);
	ONE(inotify_init, 0);
#endif
	int out = open(argv[argc - 1], O_WRONLY | O_CREAT, 0600);
	return write(out, said, strlen(said)) != (long)strlen(said);
}
