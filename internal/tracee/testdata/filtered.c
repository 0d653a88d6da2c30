// filtered does what a filter of system calls can disturb, and exits with 0 if it
// was not.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// by_clone makes a process that no tracer follows, which opens a file.
static int by_clone(void) {
	int status = 1;
	pid_t pid = syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(open("/dev/null", O_RDONLY) < 0 ? errno : 0);
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 100;
	return WEXITSTATUS(status);
}

// own_filter has one call fail as filters do that nobody traces for.
static int own_filter(unsigned number) {
	struct sock_filter program[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 7),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog f = {sizeof program / sizeof *program, program};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f))
		return 101;
	errno = 0;
	long result = number == SYS_dup ? syscall(SYS_dup, 0) : syscall(number);
	return result == -1 && errno == ENOSYS ? 0 : 102;
}

int main(int argc, char **argv) {
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "untraced"))
		return by_clone();
	if (!strcmp(argv[1], "vanished")) // nobody waits for what makes it
		return fork() ? 0 : by_clone();
	if (!strcmp(argv[1], "filter"))
		return own_filter(SYS_getppid);
	if (!strcmp(argv[1], "both")) // a call that makes a descriptor
		return own_filter(SYS_dup);
	return 2;
}
