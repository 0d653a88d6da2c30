#include "textflag.h"

// func note(): the handler of a signal. The kernel passes the number in DI, the
// siginfo_t in SI; sigreturn(2) restores every register.
TEXT ·note(SB), NOSPLIT|NOFRAME, $0
	MOVL	·noteTo(SB), DI
	MOVL	$128, DX // sizeof(siginfo_t)
	MOVL	$1, AX   // write
	SYSCALL
	RET

// func noteAddress() uintptr
TEXT ·noteAddress(SB), NOSPLIT, $0-8
	MOVQ	$·note(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
