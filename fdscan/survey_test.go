package fdscan

import (
	"hash/maphash"
	"math"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"stray/internal/proctest"
)

// What prlimit(2) does not tell is read from /proc.
func TestOpenLimit(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for _, detached := range []bool{false, true} {
		if got := (&Scanner{Detached: detached}).openLimit(os.Getpid()); got != limit.Cur {
			t.Errorf("detached %t: %d, want %d", detached, got, limit.Cur)
		}
	}
	const heading = "Limit                     Soft Limit           Hard Limit           Units     \n"
	for line, want := range map[string]uint64{
		"Max open files            1024                 1048576              files     \n": 1024,
		"Max open files            unlimited            unlimited            files     \n": math.MaxUint64,
		"Max processes             1024                 1048576              processes \n": 0,
		"Max open files\n": 0,
	} {
		root := proctest.FakeProc(t, []byte("-- 7/limits --\n"+heading+line))
		if got := (&Scanner{Root: root, Detached: true}).openLimit(7); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
	if got := (&Scanner{Root: t.TempDir(), Detached: true}).openLimit(7); got != 0 {
		t.Errorf("of nobody: %d", got)
	}
}

// Half a million of them are held at once.
func TestEntryIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Entry{}); size != 16 {
		t.Errorf("an Entry has %d bytes, want 16", size)
	}
	if len(kinds) > 1<<8 {
		t.Errorf("%d kinds do not fit into an Entry", len(kinds))
	}
}

// The memory that a walk takes is for the table, not for each descriptor.
func TestSurveyAllocatesNothingForADescriptor(t *testing.T) {
	s := &shard{root: "/proc", gap: func(Gap) {}, dents: make([]byte, direntBuffer), link: make([]byte, unix.PathMax)}
	s.survey = surveyShard{seed: maphash.MakeSeed(), found: func(Filled) {}, named: map[string]uint8{}}
	s.see, s.whole = s.note, s.filled
	read := func() float64 {
		return testing.AllocsPerRun(5, func() {
			s.survey.tables = s.survey.tables[:0]
			if _, err := s.table(os.Getpid(), 0); err != nil {
				t.Error(err)
			}
		})
	}
	few := read()
	for range 300 {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		defer w.Close()
	}
	if many := read(); many > few+2 {
		t.Errorf("%.0f allocations for a table, and %.0f with 600 descriptors more", few, many)
	}
}

// What two tables have in common is what has one number and leads to one file.
func TestEachCommon(t *testing.T) {
	a := []Entry{{FD: 0, ID: 1}, {FD: 3, ID: 2}, {FD: 5, ID: 3}, {FD: 9, ID: 4}}
	b := []Entry{{FD: 1, ID: 1}, {FD: 3, ID: 2}, {FD: 4, ID: 3}, {FD: 5, ID: 9}, {FD: 9, ID: 4, kind: 1}, {FD: 12, ID: 5}}
	var fds []int32
	eachCommon(a, b, func(e Entry) { fds = append(fds, e.FD) })
	if len(fds) != 1 || fds[0] != 3 {
		t.Errorf("descriptors %v, want 3", fds)
	}
	eachCommon(nil, b, func(Entry) { t.Error("nothing has something in common") })
}
