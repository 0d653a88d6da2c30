package fdtest

import (
	"flag"
	"path/filepath"
	"syscall"
)

// markKept notes what the standard library keeps open for itself, by evidence.
func markKept(open []Descriptor) {
	markTestFiles(open)
	markSplicePipes(open)
}

// testFiles are the flags of test binaries that name files which package
// testing opens before the tests and keeps open: the last two until the process
// ends.
var testFiles = []string{"test.testlogfile", "test.cpuprofile", "test.trace"}

// markTestFiles finds the files that the flags of package testing name.
func markTestFiles(open []Descriptor) {
	for _, name := range testFiles {
		path := flagValue(name)
		if path == "" {
			continue
		}
		if dir := flagValue("test.outputdir"); dir != "" && !filepath.IsAbs(path) && name != "test.testlogfile" {
			path = filepath.Join(dir, path)
		}
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil {
			continue
		}
		for i, d := range open {
			if d.Device == uint64(st.Dev) && d.Inode == st.Ino && d.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
				open[i].Keeper = "go test -" + name[len("test."):]
			}
		}
	}
}

// flagValue is the value of a flag of this program; "" without such a flag.
func flagValue(name string) string {
	if f := flag.Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}

// splicePipe is the size that package internal/poll gives the pipes it moves
// data through from one connection to another. It keeps them in a sync.Pool.
const splicePipe = 1 << 20

// markSplicePipes finds the pipes of that size with both ends in this process.
func markSplicePipes(open []Descriptor) {
	ends := map[uint64][]int{} // by inode, indices of open
	for i, d := range open {
		const getPipeSize = 1032 // F_GETPIPE_SZ, fcntl(2)
		if d.Kind != "pipe" || !d.CloseOnExec || d.Flags&syscall.O_NONBLOCK == 0 {
			continue
		}
		if n, err := fcntl(d.FD, getPipeSize); err == nil && n == splicePipe {
			ends[d.Inode] = append(ends[d.Inode], i)
		}
	}
	for _, pair := range ends {
		if len(pair) != 2 || open[pair[0]].Flags&syscall.O_ACCMODE == open[pair[1]].Flags&syscall.O_ACCMODE {
			continue
		}
		for _, i := range pair {
			open[i].Keeper = "package net, for splice(2)"
		}
	}
}
