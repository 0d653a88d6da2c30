package fdtest_test

import (
	"fmt"
	"os"
	"testing"

	"stray/inspect/fdtest"
)

// A package whose tests leave nothing open.
func ExampleVerifyTestMain() {
	// In a file such as main_test.go:
	_ = func(m *testing.M) { // func TestMain(m *testing.M)
		fdtest.VerifyTestMain(m)
	}
}

// A single test. What it closes by defer or Cleanup is closed by the time of
// the look.
func ExampleVerifyNone() {
	_ = func(t *testing.T) { // func TestServer(t *testing.T)
		fdtest.VerifyNone(t)
		file, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
	}
}

// Some descriptors are known to stay.
func ExampleIgnore() {
	journal := fdtest.Ignore(func(d fdtest.Descriptor) bool { return d.Name == "/var/log/journal.db" })
	_ = func(m *testing.M) { // func TestMain(m *testing.M)
		fdtest.VerifyTestMain(m, journal)
	}
}

// What a call leaves open.
func ExampleDiff() {
	before, err := fdtest.Take()
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := os.Open("/dev/null")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	after, err := fdtest.Take()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range fdtest.Diff(before, after) {
		fmt.Println(d.Kind, d.Name, "close-on-exec:", d.CloseOnExec)
	}
	// Output: device /dev/null close-on-exec: true
}
