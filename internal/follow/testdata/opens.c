// opens opens descriptors in functions of their own, and leaks them in the WAY:
//
//	opens WAY FILE
//
// It is compiled without frame pointers, and has its functions left apart.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define APART __attribute__((noinline, noclone))

static const char *path;
// What is added to a result keeps a call from being the last thing that is done,
// which has no frame.
static volatile int zero;

static void must(int ok, const char *what) {
	if (!ok) {
		perror(what);
		exit(99);
	}
}

APART static int open_file(int flags) {
	int fd = open(path, O_RDWR | O_CREAT | flags, 0600);
	must(fd >= 0, path);
	return fd + zero;
}

APART static int open_listener(void) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	must(fd >= 0 && bind(fd, (void *)&address, sizeof address) == 0 && listen(fd, 5) == 0, "listener");
	return fd + zero;
}

APART static int open_backend(void) { return open_listener() + zero; }

APART static int keep(int fd) { return dup(fd) + zero; }

APART static void open_pair(int *two) {
	must(pipe(two) == 0, "pipe");
	zero = 0;
}

// spawn starts a program that has no use for what crosses into it.
static void spawn(void) {
	pid_t pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0) {
		execl("/bin/sleep", "sleep", "0", NULL);
		_exit(99);
	}
	int status;
	must(waitpid(pid, &status, 0) == pid && status == 0, "waitpid");
}

APART static void *opening(void *unused) {
	open_file(0);
	return zero ? unused : NULL;
}

// pass sends a descriptor by a message, closes it, and receives it: nobody sees that.
static int pass(int *two, int fd) {
	char byte = 0, room[CMSG_SPACE(sizeof fd)];
	memset(room, 0, sizeof room);
	struct iovec vector = {&byte, 1};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof room};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	must(sendmsg(two[0], &message, 0) == 1, "sendmsg");
	close(fd);
	must(recvmsg(two[1], &message, 0) == 1, "recvmsg");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return fd;
}

int main(int argc, char **argv) {
	must(argc == 3, "usage: opens WAY FILE");
	const char *way = argv[1];
	path = argv[2];
	if (strcmp(way, "crosses") == 0) {
		open_backend();
		spawn();
	} else if (strcmp(way, "left-open") == 0) {
		open_file(O_CLOEXEC);
	} else if (strcmp(way, "pair") == 0) {
		int two[2];
		open_pair(two);
		spawn();
	} else if (strcmp(way, "duplicate") == 0) {
		int fd = open_file(O_CLOEXEC), copy = keep(fd);
		close(fd);
		fd = fcntl(copy, F_DUPFD, 40);
		close(copy);
		spawn();
		close(fd);
	} else if (strcmp(way, "thread") == 0) {
		pthread_t thread;
		must(pthread_create(&thread, NULL, opening, NULL) == 0 && pthread_join(thread, NULL) == 0, "thread");
		spawn();
	} else if (strcmp(way, "forked") == 0) {
		// Opened before the fork, which both sides have it from. The number that comes
		// next is another file's in each.
		open_file(0);
		pid_t pid = fork();
		if (pid == 0) {
			open_backend();
			spawn();
			_exit(0);
		}
		must(waitpid(pid, NULL, 0) == pid, "waitpid");
		keep(3);
		spawn();
	} else if (strcmp(way, "reused") == 0) {
		close(open_backend());
		open_file(0);
		spawn();
	} else if (strcmp(way, "unseen") == 0) {
		// A file comes by a message, under the number that a listener had.
		int two[2];
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, two) == 0, "socketpair");
		int file = fcntl(open_file(O_CLOEXEC), F_DUPFD_CLOEXEC, 20);
		must(file == 20 && close(5) == 0, "fcntl");
		int listener = open_listener();
		close(listener);
		must(pass(two, file) == listener, "message");
		spawn();
	} else if (strcmp(way, "process") == 0) {
		// The same with pidfds, whose links are all alike.
		int two[2];
		must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, two) == 0, "socketpair");
		int parents = fcntl(syscall(SYS_pidfd_open, getppid(), 0), F_DUPFD_CLOEXEC, 20);
		must(parents == 20 && close(5) == 0, "fcntl");
		must(syscall(SYS_pidfd_open, getpid(), 0) == 5 && close(5) == 0, "pidfd_open");
		must(pass(two, parents) == 5, "message");
		spawn();
	} else if (strcmp(way, "removed") == 0) {
		open_file(0);
		unlink(path);
		spawn();
	} else if (strcmp(way, "renamed") == 0) {
		char *other = NULL;
		open_file(0);
		must(asprintf(&other, "%s.new", path) > 0 && rename(path, other) == 0, "rename");
		spawn();
	} else if (strcmp(way, "behind") == 0) {
		int ready[2];
		must(pipe2(ready, O_CLOEXEC) == 0, "pipe");
		if (fork() == 0) {
			setsid();
			open_backend();
			close(ready[1]);
			for (;;)
				pause();
		}
		close(ready[1]);
		must(read(ready[0], &ready[1], 1) == 0, "read");
	} else {
		must(0, way);
	}
	_exit(0);
}
