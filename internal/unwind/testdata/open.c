#define _GNU_SOURCE
#include <dlfcn.h>
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

static void *worker(void *name) {
	sum += handle_request(name, 100);
	return NULL;
}

static void on_signal(int signal) {
	sum += handle_request("signal", signal);
}

__attribute__((noinline)) int deep(int n) {
	int below = n ? deep(n - 1) : handle_request("deep", 3);
	return below + n;
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
		raise(SIGUSR1);
	}
	if (!strcmp(how, "altstack")) {
		stack_t other = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
		struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
		sigaltstack(&other, NULL);
		sigaction(SIGUSR1, &action, NULL);
		raise(SIGUSR1);
	}
	if (!strcmp(how, "deep"))
		sum += deep(1000);
	if (!strcmp(how, "many"))
		for (int i = 0; i < 200; i++)
			sum += deep(12);
	if (!strcmp(how, "library")) {
		void *library = dlopen(argv[2], RTLD_NOW);
		void (*call)(void (*)(const char *)) = (void (*)(void (*)(const char *)))dlsym(library, "library_call");
		call(open_backend);
	}
	finish();
}
