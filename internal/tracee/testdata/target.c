// A program that waits, in the way its argument names, and tells what it saw.
//
// It prints "ready" and more on one line before it waits, and "result RETURN
// ERRNO MILLISECONDS" after it. A line on its standard input is the event that
// it waits for, unless that is a time or a signal.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int enough_ms; // how long a wait for a time lasts, the second argument

static struct timespec begun;

static void ready(const char *more) {
	printf("ready %s\n", more);
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &begun);
}

static int result(long value) {
	int error = value < 0 ? errno : 0;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	long ms = (now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000;
	printf("result %ld %d %ld\n", value, error, ms);
	fflush(stdout);
	return 0;
}

static void must(long ok, const char *what) {
	if (ok < 0) {
		perror(what);
		exit(1);
	}
}

// on_event runs f(argument) in a child when a line comes on standard input.
static pid_t on_event(void (*f)(long), long argument) {
	pid_t pid = fork();
	must(pid, "fork");
	if (pid == 0) {
		char c;
		while (read(0, &c, 1) == 1 && c != '\n')
			;
		f(argument);
		_exit(0);
	}
	return pid;
}

static void write_byte(long fd) { must(write(fd, "x", 1), "write"); }
static void read_lots(long fd) {
	static char lots[1 << 20];
	read(fd, lots, sizeof lots);
}

static struct timespec in_ms(long ms) { return (struct timespec){ms / 1000, ms % 1000 * 1000000}; }
static void timeout_on(int fd, int option) {
	struct timeval t = {30, 0};
	must(setsockopt(fd, SOL_SOCKET, option, &t, sizeof t), "setsockopt");
}

static int listener(void) {
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof address;
	must(bind(fd, (void *)&address, length), "bind");
	must(listen(fd, 16), "listen");
	must(getsockname(fd, (void *)&address, &length), "getsockname");
	char more[64];
	snprintf(more, sizeof more, "fd %d port %d", fd, ntohs(address.sin_port));
	ready(more);
	return fd;
}

static volatile sig_atomic_t handled;
static void handler(int signal) {
	(void)signal;
	handled++;
}
static void handle(int signal, int flags) {
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
	must(sigaction(signal, &action, NULL), "sigaction");
}

// handled_result is result, and how often the handler has run.
static int handled_result(long value) {
	printf("handled %d\n", (int)handled);
	return result(value);
}

union semun {
	int val;
};
static int semaphores;
static void up(long unused) {
	(void)unused;
	struct sembuf one = {0, 1, 0};
	must(semop(semaphores, &one, 1), "semop");
}
static int queue;
static struct message {
	long type;
	char text[8];
} message = {1, "x"};
static void post(long unused) {
	(void)unused;
	must(msgsnd(queue, &message, sizeof message.text, 0), "msgsnd");
}
static uint32_t *word;
static void wake(long unused) {
	(void)unused;
	*word = 1;
	must(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0), "futex");
}
static void unlock(long fd) { must(flock(fd, LOCK_UN), "flock"); }
static void accept_one(long fd) { must(accept(fd, NULL, NULL), "accept"); }
static void nothing(long unused) { (void)unused; }
static mqd_t posix_queue;
static void posix_post(long unused) {
	(void)unused;
	must(mq_send(posix_queue, "x", 1, 0), "mq_send");
}

// Some registers, among them such as a system call passes values in or destroys.
#if defined(__x86_64__)
#define R0 "r12"
#define R1 "r13"
#define R2 "rdi"
#define R3 "r11"
#define R4 "rcx"
#define ADD "add $1, %0\n add $1, %1\n add $1, %2\n add $1, %3\n add $1, %4"
#elif defined(__aarch64__)
#define R0 "x19"
#define R1 "x20"
#define R2 "x0"
#define R3 "x8"
#define R4 "x16"
#define ADD "add %0, %0, 1\n add %1, %1, 1\n add %2, %2, 1\n add %3, %3, 1\n add %4, %4, 1"
#endif

// spin counts in registers, floating point ones included, until stop is set, and
// fails if a register changes under it.
static volatile int stop;
static long spin(void) {
	register uint64_t a asm(R0) = 1, b asm(R1) = 2, c asm(R2) = 3, d asm(R3) = 4, e asm(R4) = 5;
	double x = 1, y = 2;
	uint64_t turns = 0;
	while (!stop) {
		for (int i = 0; i < 1000; i++) {
			asm volatile(ADD : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e));
			x += 1, y += 1;
		}
		turns += 1000;
		if (a != turns + 1 || b != turns + 2 || c != turns + 3 || d != turns + 4 || e != turns + 5 || x != turns + 1 || y != turns + 2)
			return -1;
	}
	return 1;
}
static void *stop_on_event(void *unused) {
	(void)unused;
	char c;
	while (read(0, &c, 1) == 1 && c != '\n')
		;
	stop = 1;
	return NULL;
}

static void stop_spinning(int signal) {
	(void)signal;
	stop = 1;
}

static void *sleep_forever(void *unused) {
	for (;;)
		pause();
	return unused;
}

static void *own_table(void *unused) {
	must(unshare(CLONE_FILES), "unshare");
	int fd = listener(); // says ready
	int got = accept(fd, NULL, NULL);
	result(got);
	exit(0);
	return unused;
}

static int sharer(void *unused) {
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sleep_forever(unused);
	return 0;
}

// tick prints a line again and again, by the system calls of another thread.
static void *tick(void *unused) {
	for (;; usleep(1000))
		write(2, "tick\n", 5);
	return unused;
}

static pthread_t last;
static void *outlive(void *unused) {
	pthread_join(last, NULL);
	result(1);
	exit(0);
	return unused;
}

static sigset_t set_of(int signal) {
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, signal);
	return set;
}

static int numbered;
static int disorder;
static void in_order(int signal, siginfo_t *info, void *context) {
	(void)signal, (void)context;
	if (info->si_value.sival_int != numbered)
		disorder++;
	numbered++;
}

static void *accept_in_thread(void *fd) { return (void *)(long)(accept((long)fd, NULL, NULL) < 0 ? errno : 0); }
static void *end_at_once(void *unused) { return unused; }
static void *exec_self(void *arguments) {
	execv("/proc/self/exe", arguments);
	return NULL;
}

// under_filter forbids fcntl, dup3, socket and close in one of seccomp's ways.
static int under_filter(uint32_t action) {
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_dup3, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	char c;
	handle(SIGSYS, 0);
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl");
	must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "prctl");
	ready("");
	result(read(0, &c, 1));
	errno = 0;
	// Is the filter still there?
	long got = syscall(SYS_dup3, 0, 100, 0);
	return handled_result(got);
}

static volatile char selector;
static void allow_calls(int signal) {
	selector = SYSCALL_DISPATCH_FILTER_ALLOW;
	if (signal == SIGUSR1)
		stop = 1;
	handler(signal);
}

int main(int argc, char **argv) {
	const char *mode = argc > 1 ? argv[1] : "";
	int pair[2], fds[2];
	char buffer[256];
	struct epoll_event event = {.events = EPOLLIN};
	struct timespec enough;
	enough_ms = argc > 2 ? atoi(argv[2]) : 2000;
	enough = in_ms(enough_ms);
	setvbuf(stdout, NULL, _IOLBF, 0);
	must(pipe2(fds, O_CLOEXEC), "pipe2");
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
	word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
#define MODE(name) if (strcmp(mode, name) == 0)

	MODE("accept") {
		int fd = listener();
		return result(accept(fd, NULL, NULL));
	}
	MODE("accept-timeout") {
		int fd = listener();
		timeout_on(fd, SO_RCVTIMEO);
		return result(accept(fd, NULL, NULL));
	}
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
	MODE("epoll_wait") return ready(""), result(epoll_wait(epoll, &event, 1, -1));
	MODE("epoll_wait-time") return ready(""), result(epoll_wait(epoll, &event, 1, enough_ms));
	MODE("epoll_pwait") {
		sigset_t set = set_of(SIGUSR2);
		return ready(""), result(epoll_pwait(epoll, &event, 1, -1, &set));
	}
	MODE("epoll_pwait2") return ready(""), result(syscall(SYS_epoll_pwait2, epoll, &event, 1, NULL, NULL, 8));
	struct pollfd watched = {.fd = 0, .events = POLLIN};
	MODE("poll") return ready(""), result(poll(&watched, 1, -1));
	MODE("poll-time") {
		watched.fd = pair[0];
		return ready(""), result(poll(&watched, 1, enough_ms));
	}
	MODE("ppoll") {
		sigset_t set = set_of(SIGUSR2);
		return ready(""), result(ppoll(&watched, 1, NULL, &set));
	}
	fd_set reads;
	FD_ZERO(&reads);
	FD_SET(0, &reads);
	MODE("select") return ready(""), result(select(1, &reads, NULL, NULL, NULL));
	MODE("select-time") {
		struct timeval t = {enough_ms / 1000, 0};
		return ready(""), result(select(0, NULL, NULL, NULL, &t));
	}
	MODE("pselect") {
		sigset_t set = set_of(SIGUSR2);
		return ready(""), result(pselect(1, &reads, NULL, NULL, NULL, &set));
	}
	MODE("futex") {
		on_event(wake, 0);
		return ready(""), result(syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0));
	}
	MODE("futex-time") return ready(""), result(syscall(SYS_futex, word, FUTEX_WAIT, 0, &enough, NULL, 0));
	MODE("nanosleep") return ready(""), result(nanosleep(&enough, NULL));
	MODE("clock_nanosleep") {
		struct timespec until;
		ready("");
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += enough_ms / 1000;
		errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		return result(errno ? -1 : 0);
	}
	MODE("read") return ready(""), result(read(0, buffer, 1));
	MODE("read-timerfd") {
		int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		struct itimerspec once = {.it_value = enough};
		ready("");
		timerfd_settime(fd, 0, &once, NULL);
		return result(read(fd, buffer, 8));
	}
	MODE("write") {
		memset(buffer, 0, sizeof buffer);
		fcntl(fds[1], F_SETPIPE_SZ, 4096);
		for (int i = 0; i < 4096 / 256; i++)
			must(write(fds[1], buffer, 256), "write");
		on_event(read_lots, fds[0]);
		return ready(""), result(write(fds[1], buffer, 256));
	}
	MODE("recv") {
		on_event(write_byte, pair[1]);
		return ready(""), result(recv(pair[0], buffer, 1, 0));
	}
	MODE("recv-timeout") {
		timeout_on(pair[0], SO_RCVTIMEO);
		on_event(write_byte, pair[1]);
		return ready(""), result(recv(pair[0], buffer, 1, 0));
	}
	MODE("recvmsg-timeout") {
		struct iovec vector = {buffer, 1};
		struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
		timeout_on(pair[0], SO_RCVTIMEO);
		on_event(write_byte, pair[1]);
		return ready(""), result(recvmsg(pair[0], &header, 0));
	}
	MODE("read-timeout") {
		timeout_on(pair[0], SO_RCVTIMEO);
		on_event(write_byte, pair[1]);
		return ready(""), result(read(pair[0], buffer, 1));
	}
	MODE("send-timeout") {
		timeout_on(pair[0], SO_SNDTIMEO);
		static char lots[4096];
		while (send(pair[0], lots, sizeof lots, MSG_DONTWAIT) > 0)
			;
		on_event(read_lots, pair[1]);
		return ready(""), result(send(pair[0], lots, sizeof lots, 0));
	}
	MODE("connect-timeout") {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		socklen_t length = sizeof(sa_family_t);
		int server = socket(AF_UNIX, SOCK_STREAM, 0), first = socket(AF_UNIX, SOCK_STREAM, 0),
		    second = socket(AF_UNIX, SOCK_STREAM, 0);
		must(bind(server, (void *)&address, length), "bind"); // autobind
		length = sizeof address;
		must(getsockname(server, (void *)&address, &length), "getsockname");
		must(listen(server, 0), "listen");
		must(connect(first, (void *)&address, length), "connect");
		timeout_on(second, SO_SNDTIMEO);
		on_event(accept_one, server);
		return ready(""), result(connect(second, (void *)&address, length));
	}
	MODE("semop") {
		struct sembuf one = {0, -1, 0};
		must(semaphores = semget(IPC_PRIVATE, 1, 0600), "semget");
		on_event(up, 0);
		ready("");
		int got = semop(semaphores, &one, 1);
		result(got);
		return semctl(semaphores, 0, IPC_RMID);
	}
	MODE("semtimedop-time") {
		struct sembuf one = {0, -1, 0};
		must(semaphores = semget(IPC_PRIVATE, 1, 0600), "semget");
		ready("");
		int got = semtimedop(semaphores, &one, 1, &enough);
		result(got);
		return semctl(semaphores, 0, IPC_RMID);
	}
	MODE("msgrcv") {
		must(queue = msgget(IPC_PRIVATE, 0600), "msgget");
		on_event(post, 0);
		ready("");
		struct message got;
		result(msgrcv(queue, &got, sizeof got.text, 0, 0));
		return msgctl(queue, IPC_RMID, NULL);
	}
	MODE("mq_receive") {
		char name[64];
		snprintf(name, sizeof name, "/stray-test-%d", getpid());
		struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = 8};
		must(posix_queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attributes), "mq_open");
		mq_unlink(name);
		on_event(posix_post, 0);
		return ready(""), result(mq_receive(posix_queue, buffer, 8, NULL));
	}
	MODE("flock") {
		int first = open("/proc/self/exe", O_RDONLY), second = open("/proc/self/exe", O_RDONLY);
		must(flock(first, LOCK_EX), "flock");
		on_event(unlock, first);
		return ready(""), result(flock(second, LOCK_EX));
	}
	MODE("wait4") {
		on_event(nothing, 0);
		return ready(""), result(wait(NULL) > 0);
	}
	MODE("io_getevents-time") {
		aio_context_t context = 0;
		struct io_event got;
		must(syscall(SYS_io_setup, 1, &context), "io_setup");
		return ready(""), result(syscall(SYS_io_getevents, context, 1, 1, &got, &enough));
	}
	MODE("sigtimedwait") {
		sigset_t set = set_of(SIGUSR1);
		struct timespec long_enough = in_ms(30000);
		sigprocmask(SIG_BLOCK, &set, NULL);
		return ready(""), result(sigtimedwait(&set, NULL, &long_enough));
	}
	MODE("sigtimedwait-time") {
		sigset_t set = set_of(SIGUSR1);
		sigprocmask(SIG_BLOCK, &set, NULL);
		return ready(""), result(sigtimedwait(&set, NULL, &enough));
	}
	MODE("pause") {
		handle(SIGUSR1, 0);
		return ready(""), handled_result(pause());
	}
	MODE("sigsuspend") {
		sigset_t set = set_of(SIGUSR1), other = set_of(SIGUSR2);
		handle(SIGUSR1, 0);
		sigprocmask(SIG_BLOCK, &set, NULL);
		return ready(""), handled_result(sigsuspend(&other));
	}

	// With a handler of SIGUSR1, which runs or does not make the call start again.
	MODE("epoll_wait-handler") return handle(SIGUSR1, SA_RESTART), ready(""), handled_result(epoll_wait(epoll, &event, 1, -1));
	MODE("read-handler") return handle(SIGUSR1, 0), ready(""), handled_result(read(0, buffer, 1));
	MODE("read-restart-handler") return handle(SIGUSR1, SA_RESTART), ready(""), handled_result(read(0, buffer, 1));
	MODE("nanosleep-handler") return handle(SIGUSR1, SA_RESTART), ready(""), handled_result(nanosleep(&enough, NULL));
	MODE("ppoll-handler") {
		sigset_t set = set_of(SIGUSR1), none;
		sigemptyset(&none);
		handle(SIGUSR1, 0);
		sigprocmask(SIG_BLOCK, &set, NULL);
		return ready(""), handled_result(ppoll(&watched, 1, NULL, &none));
	}

	MODE("spin") {
		pthread_t thread;
		pthread_create(&thread, NULL, stop_on_event, NULL);
		ready("");
		return result(spin());
	}
	MODE("spin-alone") {
		signal(SIGUSR1, stop_spinning);
		ready("");
		return result(spin());
	}
	MODE("threads") {
		pthread_attr_t small;
		pthread_attr_init(&small);
		pthread_attr_setstacksize(&small, 64 << 10);
		for (int i = 1; i < atoi(argv[2]); i++) {
			pthread_t thread;
			errno = pthread_create(&thread, &small, sleep_forever, NULL);
			must(errno ? -1 : 0, "pthread_create");
		}
		int fd = listener();
		return result(accept(fd, NULL, NULL));
	}
	MODE("accepting-threads") { // as many threads in accept on one listener
		int fd = listener();
		int count = atoi(argv[2]);
		pthread_t threads[count];
		for (int i = 0; i < count; i++)
			pthread_create(&threads[i], NULL, accept_in_thread, (void *)(long)fd);
		for (int i = 0; i < count; i++) {
			void *error;
			pthread_join(threads[i], &error);
			printf("error %ld\n", (long)error);
		}
		return result(read(0, buffer, 1));
	}
	MODE("churn") { // threads begin and end all the time
		pthread_t waiter;
		pthread_create(&waiter, NULL, stop_on_event, NULL);
		ready("");
		long begun = 0;
		while (!stop) {
			pthread_t threads[8];
			for (int i = 0; i < 8; i++)
				if (pthread_create(&threads[i], NULL, end_at_once, NULL) != 0)
					return result(-1);
			for (int i = 0; i < 8; i++)
				pthread_join(threads[i], NULL);
			begun += 8;
		}
		return result(begun > 0);
	}
	MODE("exec-loop") { // becomes itself again all the time, by a thread that is not the leader
		long turns = argc > 2 ? atol(argv[2]) : 0;
		char next[32];
		snprintf(next, sizeof next, "%ld", turns + 1);
		if (turns == 0)
			ready("");
		watched.fd = 0;
		if (poll(&watched, 1, 0) > 0)
			return result(turns > 0);
		char *arguments[] = {argv[0], argv[1], next, NULL};
		pthread_t thread;
		pthread_create(&thread, NULL, exec_self, arguments);
		pthread_join(thread, NULL);
		return result(-1);
	}
	MODE("seccomp-kill") return under_filter(SECCOMP_RET_KILL_PROCESS);
	MODE("seccomp-errno") return under_filter(SECCOMP_RET_ERRNO | EPERM);
	MODE("seccomp-trap") return under_filter(SECCOMP_RET_TRAP);
	MODE("seccomp-strict") {
		must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT), "prctl");
		write(1, "ready\n", 6);
		read(0, buffer, 1);
		write(1, "result 1 0 0\n", 13);
		syscall(SYS_exit, 0);
	}
	MODE("dispatch") { // system calls become SIGSYS while the selector says so
		must(signal(SIGSYS, allow_calls) == SIG_ERR ? -1 : 0, "signal");
		must(signal(SIGUSR1, allow_calls) == SIG_ERR ? -1 : 0, "signal");
		must(prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector), "prctl");
		ready("");
		selector = SYSCALL_DISPATCH_FILTER_BLOCK;
		long got = spin();
		// Is it still so?
		handled = 0;
		selector = SYSCALL_DISPATCH_FILTER_BLOCK;
		syscall(SYS_getppid);
		return handled_result(got);
	}
	MODE("io_uring") { // with a kernel thread that has the descriptor table
		struct io_uring_params parameters = {.flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 1000000};
		must(syscall(SYS_io_uring_setup, 4, &parameters), "io_uring_setup");
		ready("");
		return result(read(0, buffer, 1));
	}
	MODE("open") { // and a second thread that goes on counting
		int fd = open(argv[2], O_RDONLY | O_CLOEXEC);
		must(fd, "open");
		pthread_t thread;
		pthread_create(&thread, NULL, tick, NULL);
		snprintf(buffer, sizeof buffer, "fd %d", fd);
		ready(buffer);
		long got = read(0, buffer, 1);
		return result(got);
	}
	MODE("leader-exits") {
		pthread_create(&last, NULL, stop_on_event, NULL);
		pthread_t other;
		pthread_create(&other, NULL, outlive, NULL);
		ready("");
		pthread_exit(NULL);
	}
	MODE("own-table") {
		pthread_t thread;
		pthread_create(&thread, NULL, own_table, NULL);
		pthread_join(thread, NULL);
	}
	MODE("shared-table") {
		static char stack[64 << 10];
		int child = clone(sharer, stack + sizeof stack, CLONE_FILES | CLONE_VM | SIGCHLD, NULL);
		must(child, "clone");
		snprintf(buffer, sizeof buffer, "child %d", child);
		ready(buffer);
		result(read(0, buffer, 1));
		return kill(child, SIGKILL);
	}
	MODE("vfork") {
		ready("");
		if (vfork() == 0) {
			char c;
			read(0, &c, 1);
			_exit(0);
		}
		return result(1);
	}
	MODE("queued-signals") {
		struct sigaction action = {.sa_sigaction = in_order, .sa_flags = SA_SIGINFO | SA_RESTART};
		must(sigaction(SIGRTMIN, &action, NULL), "sigaction");
		ready("");
		long got = read(0, buffer, 1);
		printf("signals %d %d\n", numbered, disorder);
		return result(got);
	}
	MODE("linger") {
		// A connected socket with SO_LINGER whose peer reads nothing: close waits.
		int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t length = sizeof address;
		must(bind(server, (void *)&address, length), "bind");
		must(listen(server, 1), "listen");
		must(getsockname(server, (void *)&address, &length), "getsockname");
		must(connect(client, (void *)&address, length), "connect");
		static char lots[1 << 20];
		while (send(client, lots, sizeof lots, MSG_DONTWAIT) > 0)
			;
		struct linger linger = {1, 30};
		must(setsockopt(client, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), "setsockopt");
		snprintf(buffer, sizeof buffer, "fd %d", client);
		ready(buffer);
		return result(read(0, buffer, 1));
	}
	fprintf(stderr, "no such mode: %s\n", mode);
	return 2;
}
