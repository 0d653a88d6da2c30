package follow

import (
	"os"
	"strings"

	"stray/fdscan"
)

// image is a program that has been executed, in the process that did and in the
// copies that this has made of itself.
type image struct {
	pid  int
	comm string
	exe  string
	argv []string
	// full is all that is known of the process; nil until it is asked for, and
	// then what is left to be read.
	full *fdscan.Process
	// received is what came across the exec. Of that, carried was not meant for
	// the program: what it passes on of it is not its fault.
	received, carried table
	// named are the descriptors that its arguments or environment name; nil until
	// it is asked for.
	named map[int]string
	// got is what of received is told of.
	got []got
	// forked: a copy has been made of it. script is what it interpreted then.
	forked bool
	script string
	// leaks are what is known of its descriptors that have crossed an exec.
	leaks map[entry]*leak
}

// readImage reads what a process runs.
func (t *tree) readImage(pid int) *image {
	const mostArguments = 64 << 10
	i := &image{pid: pid}
	if text, err := os.ReadFile(t.path(pid, "comm")); err == nil {
		i.comm = strings.TrimSuffix(string(text), "\n")
	}
	i.exe, _ = os.Readlink(t.path(pid, "exe"))
	i.exe = strings.TrimSuffix(i.exe, " (deleted)")
	if text, err := os.ReadFile(t.path(pid, "cmdline")); err == nil && len(text) > 0 {
		text = text[:min(len(text), mostArguments)]
		i.argv = strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	}
	return i
}

// process returns all that is known of the process that executed the image. What
// has ended meanwhile is known by what was read when it did.
func (t *tree) process(i *image) *fdscan.Process {
	if i.full != nil {
		return i.full
	}
	if p := t.processes[i.pid]; p != nil && p.image == i {
		if full, err := t.reader.Process(i.pid); err == nil {
			i.full = full
			return full
		}
	}
	i.full = &fdscan.Process{PID: i.pid, NSPIDs: []int{i.pid}, Comm: i.comm, Exe: i.exe, Cmdline: i.argv}
	return i.full
}
