#include "textflag.h"

// func note(): the handler of a signal. The kernel passes the number in R0, the
// siginfo_t in R1; sigreturn(2) restores every register.
TEXT ·note(SB), NOSPLIT|NOFRAME, $0
	MOVW	·noteTo(SB), R0
	MOVD	$128, R2 // sizeof(siginfo_t)
	MOVD	$64, R8  // write
	SVC
	RET

// func noteAddress() uintptr
TEXT ·noteAddress(SB), NOSPLIT, $0-8
	MOVD	$·note(SB), R0
	MOVD	R0, ret+0(FP)
	RET
