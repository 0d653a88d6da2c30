#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static volatile int sum;

static inline __attribute__((always_inline)) void make(const char *name) {
	sum += memfd_create(name, 0);
}

__attribute__((noinline)) void open_backend(const char *name) {
	char room[3000]; /* of which a frame pointer would have to know */
	memset(room, sum, sizeof room);
	make(name);
	sum += room[sum % 3000];
}

__attribute__((noinline)) int handle_request(const char *name, int n) {
	int *many = __builtin_alloca(n * sizeof *many);
	memset(many, 0, n * sizeof *many);
	open_backend(name);
	return many[n - 1] + sum;
}

__attribute__((noinline)) int open_file(const char *name, int n) {
	int here = open(name, O_RDONLY); /* of another library */
	return here + n;
}

static void *worker(void *name) {
	sum += handle_request(name, 100);
	return NULL;
}

static void on_signal(int signal) {
	sum += handle_request("signal", signal);
}

__attribute__((noinline)) int deep(int n) {
	volatile int here = n;
	if (n)
		here += deep(n - 1); /* once more */
	else
		here += handle_request("deep", 3);
	return here;
}

/* Has its locals at a multiple of 64, wherever the stack was. */
__attribute__((noinline)) int aligned(int n) {
	_Alignas(64) volatile char line[64 * 3];
	for (int i = 0; i < n; i++)
		line[i] = i;
	return line[n - 1] + handle_request("aligned", (long)line % 64 + n);
}

/* Code that no file has: it keeps a frame pointer, and calls its argument. */
__attribute__((noinline)) int compiled_at_run_time(void) {
	static const unsigned char code[] = {
#ifdef __x86_64__
		0x55, 0x48, 0x89, 0xe5, /* push %rbp; mov %rsp,%rbp */
		0xff, 0xd6,             /* call *%rsi */
		0x5d, 0xc3,             /* pop %rbp; ret */
#else
		0xfd, 0x7b, 0xbf, 0xa9, 0xfd, 0x03, 0x00, 0x91, /* stp x29,x30,[sp,-16]!; mov x29,sp */
		0x20, 0x00, 0x3f, 0xd6,                         /* blr x1 */
		0xfd, 0x7b, 0xc1, 0xa8, 0xc0, 0x03, 0x5f, 0xd6, /* ldp x29,x30,[sp],16; ret */
#endif
	};
	void *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memcpy(made, code, sizeof code);
	mprotect(made, 4096, PROT_READ | PROT_EXEC);
	__builtin___clear_cache(made, (char *)made + sizeof code);
	((void (*)(const char *, void (*)(const char *)))made)("compiled", open_backend);
	return sum;
}

/* Returns never: its call is the last instruction. */
__attribute__((noinline, noreturn)) void finish(void) {
	handle_request("finish", 5);
	exit(0);
}

int main(int argc, char **argv) {
	const char *how = argv[1];
	if (!strcmp(how, "plain"))
		sum += handle_request("plain", argc);
	if (!strcmp(how, "thread")) {
		pthread_t thread;
		pthread_create(&thread, NULL, worker, "thread");
		pthread_join(thread, NULL);
	}
	if (!strcmp(how, "signal")) {
		signal(SIGUSR1, on_signal);
		raise(SIGUSR1); /* on this stack */
	}
	if (!strcmp(how, "altstack")) {
		stack_t other = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
		struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
		sigaltstack(&other, NULL);
		sigaction(SIGUSR1, &action, NULL);
		raise(SIGUSR1); /* on the other stack */
	}
	if (!strcmp(how, "deep"))
		sum += deep(1000);
	if (!strcmp(how, "aligned"))
		sum += aligned(argc);
	if (!strcmp(how, "compiled"))
		sum += compiled_at_run_time();
	if (!strcmp(how, "file"))
		sum += open_file("/dev/null", argc);
	if (!strcmp(how, "many"))
		for (int i = 0; i < 200; i++)
			sum += deep(12);
	if (!strcmp(how, "library")) {
		sum += handle_request("before", argc);
		void *library = dlopen(argv[2], RTLD_NOW);
		void (*call)(void (*)(const char *)) = (void (*)(void (*)(const char *)))dlsym(library, "library_call");
		call(open_backend);
	}
	finish();
}
