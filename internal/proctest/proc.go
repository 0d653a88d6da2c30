package proctest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// stat is what is wanted of /proc/PID/stat.
type stat struct {
	state      byte
	ppid       int
	startTicks uint64
}

// readStat reads /proc/PID/stat.
func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	// The command, in parentheses, may contain anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("parse /proc/%d/stat: %d fields after the command", pid, len(fields))
	}
	s := stat{state: fields[0][0]}
	s.ppid, _ = strconv.Atoi(fields[1])
	s.startTicks, err = strconv.ParseUint(fields[19], 10, 64)
	return s, err
}

// procText returns a file of /proc/PID, or why it cannot be read.
func procText(pid int, name string) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// numbersIn returns the entries of a directory of /proc that are numbers, sorted.
func numbersIn(directory string) ([]int, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var numbers []int
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// childrenOf returns the children of a process. /proc/PID/task/TID/children
// would say it at once, but not every kernel has that.
func childrenOf(parent int) []int {
	pids, _ := numbersIn("/proc")
	return slices.DeleteFunc(pids, func(pid int) bool {
		s, err := readStat(pid)
		return err != nil || s.ppid != parent
	})
}

// outerPID returns the pid, as seen here, of a child that its parent knows as inner.
func outerPID(parent, inner int) int {
	if len(nestedPIDs(parent)) < 2 {
		return inner
	}
	for _, pid := range childrenOf(parent) {
		if pids := nestedPIDs(pid); len(pids) > 0 && pids[len(pids)-1] == strconv.Itoa(inner) {
			return pid
		}
	}
	return inner
}

// nestedPIDs returns the pids of a process, from that here to the innermost.
func nestedPIDs(pid int) []string {
	for line := range strings.Lines(procText(pid, "status")) {
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(pids)
		}
	}
	return nil
}
