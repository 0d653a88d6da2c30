// leaks starts programs in every way there is, with a descriptor that they are
// not meant to have (leaky) or without (clean):
//
//	leaks WAY leaky|clean FILE
//
// The other program is sleep or true, which has no use for it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int file;
static char *nap[] = {"sleep", "0", NULL};
static char stack[16][64 << 10];

static void must(int ok, const char *what) {
	if (!ok) {
		perror(what);
		exit(99);
	}
}

static void become(void) {
	execv("/bin/sleep", nap);
	_exit(99);
}

static void reap(pid_t pid) {
	int status;
	must(waitpid(pid, &status, __WALL) == pid && status == 0, "waitpid");
}

static int execute(void *unused) {
	(void)unused;
	become();
	return 0;
}

static int linger(void *unused) {
	close(0), close(1), close(2);
	nap[1] = "60";
	return execute(unused);
}

static void *executing(void *unused) { return execute(unused), unused; }

static void *pausing(void *unused) {
	for (;;)
		pause();
	return unused;
}

static void *killing(void *unused) {
	kill(getpid(), SIGKILL);
	return unused;
}

static void threads(int n, void *(*f)(void *)) {
	pthread_t t;
	for (int i = 0; i < n; i++)
		must(pthread_create(&t, NULL, f, NULL) == 0, "pthread_create");
}

int main(int argc, char **argv) {
	extern char **environ;
	must(argc == 4, "usage");
	const char *way = argv[1];
	int leaky = !strcmp(argv[2], "leaky");
	file = open(argv[3], O_RDWR | O_CREAT | (leaky ? 0 : O_CLOEXEC), 0600);
	must(file >= 0, "open");
	pid_t pid;
	if (!strcmp(way, "fork")) {
		// Nothing is executed: a copy is no leak of this kind.
		must((pid = fork()) >= 0, "fork");
		if (pid == 0)
			_exit(0);
		reap(pid);
	} else if (!strcmp(way, "fork+exec")) {
		must((pid = fork()) >= 0, "fork");
		if (pid == 0)
			become();
		reap(pid);
	} else if (!strcmp(way, "vfork")) {
		must((pid = vfork()) >= 0, "vfork");
		if (pid == 0)
			become();
		reap(pid);
	} else if (!strcmp(way, "posix_spawn")) {
		must(posix_spawn(&pid, "/bin/sleep", NULL, NULL, nap, environ) == 0, "posix_spawn");
		reap(pid);
	} else if (!strcmp(way, "clone-files")) {
		must((pid = clone(execute, stack[0] + sizeof stack[0], CLONE_FILES | SIGCHLD, NULL)) > 0, "clone");
		reap(pid);
	} else if (!strcmp(way, "clone-no-signal")) {
		must((pid = clone(execute, stack[0] + sizeof stack[0], CLONE_VM | CLONE_VFORK, NULL)) > 0, "clone");
		reap(pid);
	} else if (!strcmp(way, "thread-exec")) {
		threads(8, pausing);
		threads(1, executing);
		pause();
	} else if (!strcmp(way, "leader-exits-first")) {
		threads(8, pausing);
		threads(1, executing);
		pthread_exit(NULL);
	} else if (!strcmp(way, "thread-forks")) {
		must((pid = fork()) >= 0, "fork");
		if (pid == 0) {
			threads(4, pausing);
			threads(1, executing);
			pause();
		}
		reap(pid);
	} else if (!strcmp(way, "sigkill")) {
		threads(15, pausing);
		threads(1, killing);
		pause();
	} else if (!strcmp(way, "closer")) {
		// The program that gets it closes it before it executes another. That it is
		// this one too, by no command of its own, is no matter.
		char *closing[] = {argv[0], "0-closes", argv[2], "/dev/null", NULL};
		must((pid = fork()) >= 0, "fork");
		if (pid == 0) {
			execv("/proc/self/exe", closing);
			_exit(99);
		}
		reap(pid);
	} else if (!strcmp(way, "0-closes")) {
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		become();
	} else if (!strcmp(way, "storm")) {
		for (int i = 0; i < 200; i++) {
			must((pid = fork()) >= 0, "fork");
			if (pid == 0)
				become();
			if (i % 8 == 7)
				while (waitpid(-1, NULL, 0) > 0)
					;
		}
		while (waitpid(-1, NULL, 0) > 0)
			;
	} else if (!strcmp(way, "stops")) {
		// What job control sees, it sees here too.
		int status;
		must((pid = fork()) >= 0, "fork");
		if (pid == 0)
			for (;;)
				pause();
		for (int i = 0; i < 50; i++) {
			kill(pid, SIGSTOP);
			must(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status), "stop");
			kill(pid, SIGCONT);
			must(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status), "continue");
		}
		kill(pid, SIGKILL);
		must(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status), "kill");
	} else if (!strcmp(way, "killed-forking")) {
		// Some are killed before it is told whom they have made.
		for (int i = 0; i < 100; i++) {
			must((pid = fork()) >= 0, "fork");
			if (pid == 0) {
				if (fork() == 0)
					become();
				_exit(0);
			}
			kill(pid, SIGKILL);
			must(waitpid(pid, NULL, 0) == pid, "waitpid");
		}
	} else if (!strcmp(way, "exec-chain")) {
		char *chain[] = {"env", "env", "nice", "sleep", "0", NULL};
		execv("/usr/bin/env", chain);
	} else if (!strcmp(way, "daemon")) {
		// The pipe ends when the daemon has executed its program.
		int executed[2];
		char none;
		must(pipe2(executed, O_CLOEXEC) == 0, "pipe2");
		must((pid = fork()) >= 0, "fork");
		if (pid == 0) {
			setsid();
			if (fork() != 0)
				_exit(0);
			linger(NULL);
		}
		reap(pid);
		close(executed[1]);
		must(read(executed[0], &none, 1) == 0, "read");
		close(executed[0]);
	} else if (!strcmp(way, "untraced")) {
		// As above.
		int executed[2];
		char none;
		must(pipe2(executed, O_CLOEXEC) == 0, "pipe2");
		must((pid = clone(linger, stack[0] + sizeof stack[0], CLONE_UNTRACED | SIGCHLD, NULL)) > 0, "clone");
		close(executed[1]);
		must(read(executed[0], &none, 1) == 0, "read");
		close(executed[0]);
	} else if (!strcmp(way, "moved")) {
		// Put where the program is to find it: meant for it.
		must((pid = fork()) >= 0, "fork");
		if (pid == 0) {
			dup2(file, 9);
			close(file);
			become();
		}
		reap(pid);
	} else if (!strcmp(way, "uncloexec")) {
		must((pid = fork()) >= 0, "fork");
		if (pid == 0) {
			fcntl(file, F_SETFD, 0);
			become();
		}
		reap(pid);
	} else {
		must(0, "way");
	}
	close(file);
	return 0;
}
