package fdscan

import (
	"bytes"
	"fmt"
	"strconv"
)

// processStat is what is wanted of /proc/PID/stat: proc_pid_stat(5).
type processStat struct {
	comm           string
	state          byte
	parent         int
	group, session int
	flags          uint64
	threads        int
	startTicks     uint64
	stackStart     uint64
}

// readStat reads /proc/PID/stat.
func readStat(path string) (processStat, error) {
	text, err := readFile(path)
	if err != nil {
		return processStat{}, err
	}
	s, ok := parseStat(text)
	if !ok {
		return processStat{}, fmt.Errorf("parse %s: %q", path, text)
	}
	return s, nil
}

// parseStat reads "1 (comm) S 0 …".
func parseStat(text []byte) (s processStat, ok bool) {
	// Field 2, the command, may hold any byte; the last ')' ends it.
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return s, false
	}
	s.comm = string(text[open+1 : end])
	field := 2 // they count from 1
	for word := range bytes.FieldsSeq(text[end+1:]) {
		switch field++; field {
		case 3:
			s.state = word[0]
		case 4:
			s.parent = decimal(word)
		case 5:
			s.group = decimal(word)
		case 6:
			s.session = decimal(word)
		case 9:
			s.flags = unsigned(word)
		case 20:
			s.threads = decimal(word)
		case 22:
			s.startTicks = unsigned(word)
		case 28:
			s.stackStart = unsigned(word)
			return s, true
		}
	}
	return s, false
}

// parseStatus reads the effective user id, and the pids in each pid namespace from
// ours inwards, of /proc/PID/status.
func parseStatus(text []byte) (uid uint32, pids []int) {
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("Uid:")); ok {
			// Real, effective, saved, of the file system.
			if words := bytes.Fields(rest); len(words) > 1 {
				uid = uint32(unsigned(words[1]))
			}
		} else if rest, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			for word := range bytes.FieldsSeq(rest) {
				pids = append(pids, decimal(word))
			}
			break // it comes after Uid
		}
	}
	return uid, pids
}

// decimal and unsigned read numbers that the kernel has written.
func decimal(b []byte) int {
	n, _ := strconv.Atoi(string(b))
	return n
}

func unsigned(b []byte) uint64 {
	n, _ := strconv.ParseUint(string(b), 10, 64)
	return n
}
