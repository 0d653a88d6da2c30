package unwind

import "testing"

// A stack that has been written over ends, whatever it holds.
func TestStacksThatLeadNowhere(t *testing.T) {
	program := compile(t, "hostile.c", "-O1", "-fno-asynchronous-unwind-tables", "-fno-omit-frame-pointer")
	for how, most := range map[string]int{
		"itself":   2, // the frame, and one more
		"two":      3,
		"nowhere":  1,
		"unmapped": 1,
		"odd":      1,
		"null":     1,
		"circle":   maxSwitches + 1,
	} {
		t.Run(how, func(t *testing.T) {
			all := stacks(t, program, how)
			if len(all) != 1 {
				t.Fatalf("%d stacks, want 1", len(all))
			}
			if how == "circle" {
				want(t, all[0], how, how, how)
			} else {
				want(t, all[0], "with_frame_pointer")
			}
			if n := len(all[0]); n > most {
				t.Errorf("%d frames, want at most %d:\n%s", n, most, told(all[0]))
			}
		})
	}
}
