package unwind

import (
	"os/exec"
	"testing"
)

// A stack that has been written over ends, whatever it holds.
func TestStacksThatLeadNowhere(t *testing.T) {
	program := compile(t, "hostile.c", "-O1", "-fno-asynchronous-unwind-tables", "-fno-omit-frame-pointer")
	u := New("/proc")
	defer u.Close()
	for how, most := range map[string]int{
		"itself":   3, // the frame, its caller, and one more
		"two":      4,
		"nowhere":  2,
		"unmapped": 2,
		"odd":      2,
		"null":     2,
		"circle":   maxSwitches + 1,
	} {
		t.Run(how, func(t *testing.T) {
			all := stacksBy(t, u, program, how)
			if len(all) != 1 {
				t.Fatalf("%d stacks, want 1", len(all))
			}
			if how == "circle" {
				want(t, all[0], how, how, how)
			} else {
				want(t, all[0], "with_frame_pointer", "main") // by the call
			}
			if n := len(all[0]); n > most {
				t.Errorf("%d frames, want at most %d:\n%s", n, most, told(all[0]))
			}
		})
	}
}

// Nobody waits for memory that a process has to deliver itself, while it stands still.
func TestMemoryThatNeverComes(t *testing.T) {
	program := compile(t, "undelivered.c", "-O1", "-fomit-frame-pointer")
	if err := exec.Command(program).Run(); err != nil {
		t.Skipf("userfaultfd: %v", err)
	}
	if all := stacks(t, program); len(all) != 1 || len(all[0]) != 1 {
		t.Errorf("stacks %v, want one of one call", all)
	}
}
