package unwind

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// buildGo builds a Go program of the test data with the flags, and returns its
// path.
func buildGo(t testing.TB, dir, cgo string, flags ...string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), dir)
	args := append(append([]string{"build", "-o", program}, flags...), "./testdata/"+dir)
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	return program
}

func TestGo(t *testing.T) {
	for _, flags := range [][]string{nil, {"-ldflags=-s -w"}, {"-ldflags=-s -w", "-buildmode=pie"}} {
		program := buildGo(t, "goopen", "0", flags...)
		for _, frames := range stacks(t, program) {
			t.Logf("%v:\n%s", flags, told(frames))
		}
	}
}
