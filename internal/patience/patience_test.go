package patience_test

import (
	"testing"

	"stray/internal/patience"
	"stray/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestWithin(t *testing.T) {
	late := make(chan int)
	send := func(v int) { late <- v }
	if v, ok := patience.Within(func() int { return 7 }, send); v != 7 || !ok {
		t.Errorf("Within = %v, %v, want 7, true", v, ok)
	}
	slow := make(chan int)
	if v, ok := patience.Within(func() int { return <-slow }, send); v != 0 || ok {
		t.Errorf("Within = %v, %v, want 0, false", v, ok)
	}
	slow <- 8
	if v := <-late; v != 8 {
		t.Errorf("%d comes late, want 8", v)
	}
}
