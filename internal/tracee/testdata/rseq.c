// Threads increment counters of their processor in restartable sequences, by a
// load, an addition and a store: an increment is lost unless a sequence that was
// interrupted starts over. No thread ever waits. On SIGUSR1 it prints
// "sums MADE ARRIVED".
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/rseq.h>

static struct counter {
	int64_t value;
	char padding[120];
} counters[1024];
static volatile int stop;

static struct rseq *area(void) { return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset); }

// increment adds 1 to the counter of this processor. It fails when it was
// interrupted.
static int increment(struct rseq *r) {
	uint32_t cpu = r->cpu_id_start;
	struct counter *counter = &counters[cpu];
	asm goto(".pushsection __rseq_cs, \"aw\"\n\t"
		 ".balign 32\n"
		 "3:\n\t"
		 ".long 0, 0\n\t"
		 ".quad 1f, 2f - 1f, 4f\n\t"
		 ".popsection\n\t"
		 "leaq 3b(%%rip), %%rax\n\t"
		 "movq %%rax, %[rseq_cs]\n"
		 "1:\n\t"
		 "cmpl %[cpu], %[cpu_id]\n\t"
		 "jnz %l[aborted]\n\t"
		 "movq %[value], %%rax\n\t"
		 ".rept 100\n\t" // longer than it need be
		 "nop\n\t"
		 ".endr\n\t"
		 "addq $1, %%rax\n\t"
		 "movq %%rax, %[value]\n"
		 "2:\n\t"
		 ".pushsection __rseq_failure, \"ax\"\n\t"
		 ".byte 0x0f, 0xb9, 0x3d\n\t"
		 ".long 0x53053053\n" // RSEQ_SIG
		 "4:\n\t"
		 "jmp %l[aborted]\n\t"
		 ".popsection\n"
		 :
		 : [cpu] "r"(cpu), [cpu_id] "m"(r->cpu_id), [rseq_cs] "m"(r->rseq_cs), [value] "m"(counter->value)
		 : "memory", "cc", "rax"
		 : aborted);
	return 1;
aborted:
	return 0;
}

static void *count(void *unused) {
	struct rseq *r = area();
	int64_t made = 0;
	(void)unused;
	while (!stop)
		made += increment(r);
	return (void *)made;
}

static void stop_counting(int signal) {
	(void)signal;
	stop = 1;
}

int main(int argc, char **argv) {
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t thread[threads];
	int64_t made = 0, arrived = 0;
	signal(SIGUSR1, stop_counting);
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, count, NULL);
	printf("ready %u\n", __rseq_size);
	fflush(stdout);
	made += (int64_t)count(NULL);
	for (int i = 0; i < threads; i++) {
		void *one;
		pthread_join(thread[i], &one);
		made += (int64_t)one;
	}
	for (int i = 0; i < 1024; i++)
		arrived += counters[i].value;
	printf("sums %ld %ld\n", made, arrived);
	return 0;
}
