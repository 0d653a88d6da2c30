package unwind

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"stray/internal/testenv"
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

func TestStacksOfGo(t *testing.T) {
	for name, flags := range map[string][]string{
		"default":      nil,
		"stripped":     {"-ldflags=-s -w"},
		"pie":          {"-buildmode=pie"},
		"stripped-pie": {"-buildmode=pie", "-ldflags=-s -w"},
	} {
		t.Run(name, func(t *testing.T) {
			program := buildGo(t, "goopen", "0", flags...)
			all := stacks(t, program)
			if len(all) != 2 {
				t.Fatalf("%d stacks, want 2", len(all))
			}
			handle := []string{
				"golang.org/x/sys/unix.MemfdCreate",
				"main.inlined@unix.MemfdCreate(name, 0)",
				"main.openBackend@return inlined(name)",
				"main.(*server).handle@openBackend(s.name)",
			}
			want(t, all[0], append(slices.Clone(handle), "main.main.func1@s.handle()", "runtime.goexit")...)
			want(t, all[1], append(slices.Clone(handle), "main.generic[go.shape.*uint8]@f(v)", "main.main@generic(s, ", "runtime.main", "runtime.goexit")...)
		})
	}
}

// A C function that Go calls runs on another stack than Go.
func TestStacksOfCgo(t *testing.T) {
	testenv.NeedTool(t, "gcc", "gcc")
	for name, flags := range map[string][]string{
		"default":      nil,
		"stripped-pie": {"-buildmode=pie", "-ldflags=-s -w"},
	} {
		t.Run(name, func(t *testing.T) {
			all := stacks(t, buildGo(t, "cgoopen", "1", flags...))
			if len(all) != 2 {
				t.Fatalf("%d stacks, want 2", len(all))
			}
			if name == "default" {
				want(t, all[0], "memfd_create", "open_in_c")
				want(t, all[1], "crosscall2", "calledBack", "call_back")
			} // else there are no names of C left
			asm := []string{"runtime.asmcgocall", "runtime.cgocall"}
			want(t, all[0], append(slices.Clone(asm), "main._Cfunc_open_in_c", "main.open@// to C", "main.main@// by way of Go", "runtime.main")...)
			want(t, all[1], "main.inlined@unix.MemfdCreate(", "main.calledBack@// inlined")
			want(t, all[1], append(slices.Clone(asm), "main._Cfunc_call_back", "main.main@// and back", "runtime.main", "runtime.goexit")...)
		})
	}
}
