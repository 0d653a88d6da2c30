// undelivered calls memfd_create(2) on a stack whose memory it has promised to
// deliver itself (userfaultfd(2)), and does not. It exits with 77 where that is
// forbidden.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
	const unsigned long size = 1 << 20;
	int faults = syscall(SYS_userfaultfd, O_CLOEXEC);
	struct uffdio_api api = {.api = UFFD_API};
	if (faults < 0 || ioctl(faults, UFFDIO_API, &api))
		return 77;
	char *stack = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register range = {.range = {(unsigned long)stack, size}, .mode = UFFDIO_REGISTER_MODE_MISSING};
	if (ioctl(faults, UFFDIO_REGISTER, &range))
		return 77;
	stack += size / 2;
#if defined __x86_64__
	long number = SYS_memfd_create;
	asm volatile("mov %%rsp, %%rbx; mov %1, %%rsp; syscall; mov %%rbx, %%rsp"
	             : "+a"(number) : "r"(stack), "D"("memory"), "S"(0L) : "rbx", "rcx", "r11", "memory");
#elif defined __aarch64__
	register long number asm("x8") = SYS_memfd_create;
	register const char *name asm("x0") = "memory";
	register long flags asm("x1") = 0;
	asm volatile("mov x19, sp; mov sp, %2; svc 0; mov sp, x19"
	             : "+r"(name) : "r"(number), "r"(stack), "r"(flags) : "x19", "memory");
#endif
	return 0;
}
