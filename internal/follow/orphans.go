package follow

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// reap reaps what has ended under parents that have ended without having waited
// for it: that falls to the caller, as the subreaper. What is followed still is
// left alone: its end has yet to be told.
func (t *tree) reap() {
	for _, child := range t.children(os.Getpid()) {
		if slices.Contains(t.strangers, child) || t.processes[child] != nil {
			continue
		}
		if strings.Contains(t.status(child), "\nTracerPid:\t0\n") {
			unix.Wait4(child, nil, unix.WNOHANG, nil)
		}
	}
}

// unfollowed returns the living descendants of this process that nobody follows,
// since they were made with CLONE_UNTRACED, once the patience is over.
func (t *tree) unfollowed(patience time.Duration, hurried func() bool) []int {
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		t.reap()
		left := t.untraced(os.Getpid())
		if len(left) == 0 || !time.Now().Before(deadline) || hurried() {
			return left
		}
	}
}

// untraced returns the descendants of a process that have no tracer, without those
// of strangers.
func (t *tree) untraced(pid int) (found []int) {
	for _, child := range t.children(pid) {
		if slices.Contains(t.strangers, child) {
			continue
		}
		if t.processes[child] == nil && t.isUntraced(child) {
			found = append(found, child)
		}
		found = append(found, t.untraced(child)...)
	}
	return found
}

// isUntraced reports a process without a tracer that is no zombie.
func (t *tree) isUntraced(pid int) bool {
	text, err := os.ReadFile(t.path(pid, "status"))
	return err == nil && bytes.Contains(text, []byte("\nTracerPid:\t0\n")) && !bytes.Contains(text, []byte("\nState:\tZ"))
}

// children returns the children of all threads of a process. It needs
// CONFIG_PROC_CHILDREN, which every distribution has.
func (t *tree) children(pid int) (children []int) {
	tasks, err := os.ReadDir(t.path(pid, "task"))
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		text, _ := os.ReadFile(t.path(pid, "task/"+task.Name()+"/children"))
		for _, word := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				children = append(children, child)
			}
		}
	}
	return children
}
