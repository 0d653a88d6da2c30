package proctest

import (
	"math"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "thread [own=0|1] { … }",
	text: "starts another thread, which carries out operations like those of fork and goes on as the last one says. " +
		"With own, its descriptor table becomes its own (unshare CLONE_FILES): a copy of the process's.",
	options: []string{"own"}, block: true,
	admits: func(inner *specification) bool { return inner.compile != nil },
	run: func(r *role, op *operation) error {
		own := op.on("own")
		t := &r.table
		var p program
		if own {
			t = new(slices.Clone(r.table))
			p.add(unix.SYS_UNSHARE, unix.CLONE_FILES)
			if !r.Silent {
				p.add(unix.SYS_DUP3, 0, 1)
			}
			p.add(unix.SYS_CLOSE_RANGE, highDescriptor, math.MaxUint32, 0)
		}
		ending := pausing()
		for _, inner := range op.Body {
			calls, err := specifications[inner.Name].compile(t, inner)
			if err != nil {
				return err
			}
			if !ending.take(inner, calls) {
				p.append(calls)
			}
		}
		tid, err := performOnThread(p, ending.finale)
		if err != nil {
			return err
		}
		fact := threadFact{TID: tid, End: ending.end}
		if own {
			fact.Table = *t
		}
		r.facts.Threads = append(r.facts.Threads, fact)
		return nil
	},
})

// performOnThread performs a program on a thread of its own, which goes on with
// the finale, and returns its id.
func performOnThread(p, finale program) (tid int, err error) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever
		tid = unix.Gettid()
		done <- p.perform()
		finale.perform()
	}()
	err = <-done
	return tid, err
}
