package unwind

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxMaps bounds what is read of a process's mappings: a kernel allows 65530 of
// them unless told otherwise, of some hundred bytes each.
const maxMaps = 16 << 20

// space are the mappings of a process that hold code, by address.
type space struct{ mappings []mapping }

// mapping is a line of proc_pid_maps(5).
type mapping struct {
	start, end, offset uint64
	file               fileID
	// module is what is mapped, when it was needed; the library knows the rest.
	module *module
}

// fileID tells a file from all others that exist at the time. Inode numbers alone
// do not, where several subvolumes are one device.
type fileID struct {
	device string // major:minor, hexadecimal
	inode  uint64
	name   string // as the kernel writes it, "" for anonymous memory
}

// find returns the mapping of the address, nil when there is none.
func (s *space) find(address uint64) *mapping {
	i, found := slices.BinarySearchFunc(s.mappings, address, func(m mapping, a uint64) int {
		switch {
		case m.end <= a:
			return -1
		case m.start > a:
			return 1
		}
		return 0
	})
	if !found {
		return nil
	}
	return &s.mappings[i]
}

// readSpace reads the mappings of a thread. Those of a process whose first thread
// has ended are to be had of the others only.
func readSpace(root string, pid, tid int) *space {
	f, err := os.Open(taskDirectory(root, pid, tid) + "/maps")
	if err != nil {
		return &space{}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMaps))
	if err != nil {
		return &space{}
	}
	return parseMaps(text)
}

func taskDirectory(root string, pid, tid int) string {
	return root + "/" + strconv.Itoa(pid) + "/task/" + strconv.Itoa(tid)
}

// parseMaps returns the executable mappings. Lines that are not of the kernel's
// form, or not in its order, are left out.
func parseMaps(text []byte) *space {
	s := &space{}
	last := uint64(0)
	for line := range bytes.Lines(text) {
		// START-END PERMISSIONS OFFSET DEVICE INODE   NAME
		var field [5][]byte
		rest := line
		for i := range field {
			field[i], rest, _ = bytes.Cut(rest, []byte(" "))
		}
		if len(field[1]) < 3 || field[1][2] != 'x' {
			continue
		}
		first, second, _ := bytes.Cut(field[0], []byte("-"))
		m := mapping{start: number(first, 16), end: number(second, 16), offset: number(field[2], 16)}
		if m.start < last || m.end <= m.start {
			continue
		}
		last = m.end
		m.file = fileID{string(field[3]), number(bytes.TrimSpace(field[4]), 10), string(bytes.Trim(rest, " \n"))}
		s.mappings = append(s.mappings, m)
	}
	return s
}

func number(digits []byte, base int) uint64 {
	n, _ := strconv.ParseUint(string(digits), base, 64)
	return n
}

// deleted is how the kernel marks the name of a file that has none any more.
const deleted = " (deleted)"

// path is the name without the kernel's mark.
func (m *mapping) path() string { return strings.TrimSuffix(m.file.name, deleted) }
