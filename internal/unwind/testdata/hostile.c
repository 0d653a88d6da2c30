/* Stacks that lead nowhere, or round in circles. */
#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
/* Calls memfd_create(2) with the frame pointer given. */
void with_frame_pointer(void *fp);
__asm__(".globl with_frame_pointer\n"
	"with_frame_pointer:\n"
	"	push %rbp\n"
	"	mov %rdi, %rbp\n"
	"	mov $319, %eax\n"
	"	lea name(%rip), %rdi\n"
	"	xor %esi, %esi\n"
	"	syscall\n"
	"	pop %rbp\n"
	"	ret\n");

/* Is its own caller, on the same stack, says its call frame information. */
void circle(void);
__asm__(".globl circle\n"
	"circle:\n"
	"	.cfi_startproc\n"
	"	lea again(%rip), %rax\n"
	"	push %rax\n"
	"	.cfi_def_cfa rsp, 0\n"
	"	.cfi_offset rip, 0\n"
	"	mov $319, %eax\n"
	"	lea name(%rip), %rdi\n"
	"	xor %esi, %esi\n"
	"	syscall\n"
	"again:\n"
	"	pop %rax\n"
	"	ret\n"
	"	.cfi_endproc\n"
	"name:\n"
	"	.asciz \"hostile\"\n");
#else
void with_frame_pointer(void *fp);
__asm__(".globl with_frame_pointer\n"
	"with_frame_pointer:\n"
	"	stp x29, x30, [sp, -16]!\n"
	"	mov x29, x0\n"
	"	mov x8, #279\n"
	"	adr x0, name\n"
	"	mov x1, #0\n"
	"	svc #0\n"
	"	ldp x29, x30, [sp], 16\n"
	"	ret\n");

void circle(void);
__asm__(".globl circle\n"
	"circle:\n"
	"	.cfi_startproc\n"
	"	adr x9, again\n"
	"	stp x29, x9, [sp, -16]!\n"
	"	.cfi_def_cfa sp, 0\n"
	"	.cfi_offset 30, 8\n"
	"	mov x8, #279\n"
	"	adr x0, name\n"
	"	mov x1, #0\n"
	"	svc #0\n"
	"again:\n"
	"	ldp x29, x9, [sp], 16\n"
	"	ret\n"
	"	.cfi_endproc\n"
	"name:\n"
	"	.asciz \"hostile\"\n");
#endif

int main(int argc, char **argv) {
	uintptr_t code = (uintptr_t)main + 8;
	uintptr_t room[8] = {0};
	const char *how = argv[1];
	if (!strcmp(how, "itself")) { /* a record that is its own caller's */
		room[0] = (uintptr_t)room;
		room[1] = code;
		with_frame_pointer(room);
	}
	if (!strcmp(how, "two")) { /* two records that are each other's caller's */
		room[0] = (uintptr_t)&room[4];
		room[1] = code;
		room[4] = (uintptr_t)room;
		room[5] = code;
		with_frame_pointer(room);
	}
	if (!strcmp(how, "nowhere")) { /* a return address that is none */
		room[1] = 0x4141414141414141;
		with_frame_pointer(room);
	}
	if (!strcmp(how, "unmapped"))
		with_frame_pointer((void *)(UINTPTR_MAX - 7));
	if (!strcmp(how, "odd"))
		with_frame_pointer((char *)room + 3);
	if (!strcmp(how, "null"))
		with_frame_pointer(0);
	if (!strcmp(how, "circle"))
		circle();
	return 0;
}
