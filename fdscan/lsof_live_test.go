package fdscan_test

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
	"stray/internal/testenv"
)

// What lsof tells of a descriptor is told here too: the two read the same kernel.
func TestLsofTellsNothingMore(t *testing.T) {
	lsof := testenv.NeedTool(t, "lsof", "lsof")
	directory, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	role := proctest.Start(t, fmt.Sprintf(`
		open %[1]s/file create=1 write=1 name=file; send file 5000; lock file
		open %[1]s; open /dev/null; pty; pipe; pair; make eventfd; make memfd; make pidfd; make inotify; make timerfd; make signalfd
		listen tcp4 127.0.0.1:0 name=web; connect tcp4 web; accept web; listen unix %[1]s/socket; bind udp4 127.0.0.1:0; epoll web`, directory))
	snap := list(t, role.PID)
	out, err := exec.Command(lsof, "-nP", "-w", "-p", strconv.Itoa(role.PID), "-F", "fatDrion").Output()
	if err != nil {
		t.Fatalf("lsof: %v", err)
	}
	count := 0
	for _, row := range lsofRows(string(out)) {
		fd, err := strconv.Atoi(row['f'])
		if err != nil {
			continue // cwd, txt, mem: no descriptor
		}
		count++
		d := listed(t, snap, role.PID, fd)
		for field, want := range map[byte]string{
			'a': map[uint32]string{unix.O_RDONLY: "r", unix.O_WRONLY: "w", unix.O_RDWR: "u"}[*d.Flags&unix.O_ACCMODE],
			'i': strconv.FormatUint(d.Inode, 10),
			'D': fmt.Sprintf("0x%x", d.Device),
			'r': fmt.Sprintf("0x%x", d.Number),
			'o': fmt.Sprintf("0t%d", *d.Pos),
		} {
			if got, told := row[field]; told && got != want && (d.Socket == nil || field != 'i' && field != 'D') {
				t.Errorf("%s: lsof says %c%s, and here it is %s", descriptorText(d), field, got, want)
			}
		}
		if local, _, _ := strings.Cut(row['n'], "->"); row['t'] == "IPv4" && !strings.Contains(d.Target, local) {
			t.Errorf("%s: lsof says %s, and here it is %s", descriptorText(d), row['n'], d.Target)
		}
	}
	if count != len(snap.Descriptors) || count < 20 {
		t.Errorf("lsof tells of %d descriptors, and here are %d", count, len(snap.Descriptors))
	}
	kinds := map[*fdscan.Kind]bool{}
	for _, d := range snap.Descriptors {
		kinds[d.Kind] = true
	}
	if kinds[fdscan.Unknown] || kinds[fdscan.AnySocket] {
		t.Errorf("kinds %v", slices.Collect(maps.Keys(kinds)))
	}
}

// lsofRows reads the output of lsof -F: a line for each field, and f begins a row.
func lsofRows(out string) (rows []map[byte]string) {
	for line := range strings.Lines(out) {
		name, value := line[0], strings.TrimSuffix(line[1:], "\n")
		if name == 'f' {
			rows = append(rows, map[byte]string{})
		}
		if len(rows) > 0 {
			rows[len(rows)-1][name] = value
		}
	}
	return rows
}
