package cmd_test

import (
	"os/exec"
	"testing"

	"stray/internal/testenv"
)

// What keeps stray from beginning is not taken for a fault of the program.
func TestCheckCannotBegin(t *testing.T) {
	bash := testenv.NeedTool(t, "bash", "bash")
	// Without signals that may be pending there is no timer_create(2).
	cmd := exec.Command(bash, "-c", `ulimit -i 0 && exec "$0" check -- true`, strayProgram(t))
	out, _ := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 125 {
		t.Errorf("exit %d, want 125: %s", code, out)
	}
}
