package tracee

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestRestartableSequences(t *testing.T) {
	t.Parallel()
	r := start(t, program(t, "rseq"), "7")
	for range 50 {
		// The others go on and increment the same counters meanwhile.
		r.do(Options{MaxThreads: 1}, script{Steps: []step{{Do: "probe"}, {Do: "hold", A: 5}}})
	}
	unix.Kill(r.pid(), unix.SIGUSR1)
	if sums := r.numbersOf("sums"); sums[0] != sums[1] || sums[0] == 0 {
		t.Errorf("%d increments were made, and %d have arrived", sums[0], sums[1])
	}
}

func Test32Bit(t *testing.T) {
	t.Parallel()
	r := start(t, program(t, "bits32", "-m32", "-nostdlib", "-static"))
	r.refused(r.target(), Options{}, Wide32)
	if !foreseen(r.target(), Options{}, Wide32) {
		t.Errorf("Preflight says %v", Preflight(r.target(), Options{}))
	}
	r.event()
	if result := r.numbersOf("result"); result[0] != 1 {
		t.Errorf("result %v", result)
	}
}
