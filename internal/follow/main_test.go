package follow_test

import (
	"fmt"
	"os"
	"testing"

	"stray/internal/testenv"
	"stray/internal/tracee"
)

// scratch is a directory for what several tests use.
var scratch string

func TestMain(m *testing.M) {
	tracee.HelperMain()
	dir, err := os.MkdirTemp("", "follow-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	code := testenv.Checked(m).Run()
	os.RemoveAll(dir)
	os.Exit(code)
}
