package testenv

import (
	"fmt"
	"os"
	"runtime"
	"testing"
)

// recorder is a testing.TB that notes how a test was ended instead of ending it.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// record runs need as a test of its own would.
func record(need func(testing.TB)) recorder {
	var r recorder
	done := make(chan struct{})
	go func() {
		defer close(done)
		need(&r)
	}()
	<-done
	return r
}

func TestUnmetNeedSkipsOrFails(t *testing.T) {
	t.Setenv("STRAY_REQUIRE_PRIVILEGED", "")
	laptop := record(func(t testing.TB) { NeedKernel(t, 99, 0) })
	want := "this test needs Linux 99.0: this is " + kernelRelease()
	if laptop.skipped != want || laptop.failed != "" {
		t.Errorf("on a laptop: skipped %q, failed %q", laptop.skipped, laptop.failed)
	}

	t.Setenv("STRAY_REQUIRE_PRIVILEGED", "1")
	ci := record(func(t testing.TB) { NeedTool(t, "no-such-tool", "no-such-package") })
	want = "STRAY_REQUIRE_PRIVILEGED=1, but this test needs no-such-tool: install the package no-such-package"
	if ci.failed != want || ci.skipped != "" {
		t.Errorf("in CI: skipped %q, failed %q", ci.skipped, ci.failed)
	}
}

func TestMetNeedsPass(t *testing.T) {
	NeedKernel(t, 2, 6)
	if path := NeedTool(t, "sleep", "coreutils"); path == "" {
		t.Error("NeedTool found sleep and returned no path")
	}
}

func TestNeedNetNSLeavesTheCallerWhereItWas(t *testing.T) {
	NeedRoot(t)
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		NeedNetNS(t)
		NeedPIDNS(t)
		after := make(chan string)
		go func() {
			link, _ := os.Readlink("/proc/thread-self/ns/net")
			after <- link
		}()
		if link := <-after; link != before {
			t.Fatalf("a thread is left in %s, the test is in %s", link, before)
		}
	}
}
