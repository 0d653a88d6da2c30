package tracee

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

var unexported = cmp.AllowUnexported(processStat{}, processStatus{}, callLine{}, auxiliary{})

func TestParseStat(t *testing.T) {
	const rest = " S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 8242 2453504 200 18446744073709551615 0\n"
	for text, want := range map[string]processStat{
		"7 (sh)" + rest:              {comm: "sh", state: 'S', flags: 4194560, startTicks: 8242},
		"7 (a ) S 0 (b) Z 9)" + rest: {comm: "a ) S 0 (b) Z 9", state: 'S', flags: 4194560, startTicks: 8242},
		"7 ()" + rest:                {state: 'S', flags: 4194560, startTicks: 8242},
	} {
		got, err := parseStat([]byte(text))
		if diff := cmp.Diff(want, got, unexported); err != nil || diff != "" {
			t.Errorf("parseStat(%q): error %v, difference (-want +got):\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "7 sh S 1", "7 )sh( S 1", "7 (sh) S 1 7", "7 (sh) S 1 7 7 0 -1 x 100 0 0 0 1 2 0 0 20 0 1 0 8242"} {
		if got, err := parseStat([]byte(text)); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", text, got)
		}
	}
}

func TestParseStatusFile(t *testing.T) {
	const text = "Name:\tTracerPid:\t9\nUmask:\t0022\nState:\tS (sleeping)\nTracerPid:\t42\n" +
		"Uid:\t1000\t0\t1001\t0\nGid:\t100\t200\t300\t400\nGroups:\t \nCapEff:\t000001ffffffffff\nSeccomp:\t2\nSeccomp_filters:\t1\n"
	want := processStatus{tracer: 42, seccomp: 2, uids: [3]uint32{1000, 0, 1001}, gids: [3]uint32{100, 200, 300}, caps: 0x1ffffffffff}
	got, err := parseStatusFile([]byte(text))
	if diff := cmp.Diff(want, got, unexported); err != nil || diff != "" {
		t.Errorf("error %v, difference (-want +got):\n%s", err, diff)
	}
	for _, text := range []string{"TracerPid:\tx\n", "Uid:\t1\t2\n", "Gid:\t1\t2\t-3\n", "CapEff:\txyz\n", "Seccomp:\t\u0661\n"} {
		if got, err := parseStatusFile([]byte(text)); err == nil {
			t.Errorf("parseStatusFile(%q) = %+v, want an error", text, got)
		}
	}
}

func TestParseCallLine(t *testing.T) {
	for text, want := range map[string]callLine{
		"running\n":                           {number: -1},
		"-1 0x7ffd4 0x7f10\n":                 {number: -1, stack: 0x7ffd4, pc: 0x7f10},
		"0 0x3 0x4 0x5 0x0 0x0 0x6 0x7 0x8\n": {number: 0, arguments: [6]uint64{3, 4, 5, 0, 0, 6}, stack: 7, pc: 8, inProgress: true},
	} {
		got, err := parseCallLine([]byte(text))
		if diff := cmp.Diff(want, got, unexported); err != nil || diff != "" {
			t.Errorf("parseCallLine(%q): error %v, difference (-want +got):\n%s", text, err, diff)
		}
	}
	for _, text := range []string{"", "0 0x3", "x 0x1 0x2", "1 0x1 y"} {
		if got, err := parseCallLine([]byte(text)); err == nil {
			t.Errorf("parseCallLine(%q) = %+v, want an error", text, got)
		}
	}
}

func TestParseAuxiliary(t *testing.T) {
	pack64 := func(words ...uint64) (vector []byte) {
		for _, word := range words {
			vector = binary.NativeEndian.AppendUint64(vector, word)
		}
		return vector
	}
	pack32 := func(words ...uint32) (vector []byte) {
		for _, word := range words {
			vector = binary.NativeEndian.AppendUint32(vector, word)
		}
		return vector
	}
	for name, test := range map[string]struct {
		vector []byte
		want   auxiliary
	}{
		"of a kernel thread": {nil, auxiliary{}},
		"of 64 bits":         {pack64(33, 0x7fff1000, 16, 0xbfebfbff, 31, 0x7fffabc, 0, 0, 33, 1), auxiliary{bits: 64, vdso: 0x7fff1000, filename: 0x7fffabc}},
		"of 32 bits":         {pack32(32, 0xf7f00000, 33, 0xf7f01000, 16, 0xbfebfbff, 31, 0xffffabc, 0, 0), auxiliary{bits: 32}},
		"without a vDSO":     {pack64(16, 1, 0, 0), auxiliary{bits: 64}},
	} {
		if diff := cmp.Diff(test.want, parseAuxiliary(test.vector), unexported); diff != "" {
			t.Errorf("%s: difference (-want +got):\n%s", name, diff)
		}
	}
}

// What the kernel writes about this very program can be read.
func TestOwnFiles(t *testing.T) {
	p, err := openProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if stat, err := p.stat("stat"); err != nil || stat.startTicks == 0 || stat.flags&flagKernelThread != 0 {
		t.Errorf("stat %+v, error %v", stat, err)
	}
	if status, err := p.status("status"); err != nil || status.uids[1] != uint32(os.Geteuid()) {
		t.Errorf("status %+v, error %v", status, err)
	}
	vector, err := p.read("auxv")
	if aux := parseAuxiliary(vector); err != nil || aux.bits != 64 {
		t.Errorf("auxv %+v, error %v", aux, err)
	} else if address := findInstruction(os.Getpid(), aux.vdso); address == 0 {
		t.Errorf("no instruction in the vDSO at %#x", aux.vdso)
	}
	threads, err := p.threads()
	if err != nil || !p.has(unix.Gettid()) || p.has(1<<22) {
		t.Errorf("threads %v, error %v", threads, err)
	}
}

// A /proc file is text that a process has a part in: whatever stands there, the
// outcome is a value or an error.
func FuzzParse(f *testing.F) {
	f.Add([]byte("7 (sh) S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 8242 2453504 200"))
	f.Add([]byte("TracerPid:\t42\nUid:\t1000\t0\t1001\t0\n"))
	f.Add([]byte("0 0x3 0x4 0x5 0x0 0x0 0x6 0x7 0x8\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if got, err := parseStat(text); err != nil && got != (processStat{}) {
			t.Errorf("parseStat: %+v and %v", got, err)
		}
		if got, err := parseStatusFile(text); err != nil && got != (processStatus{}) {
			t.Errorf("parseStatusFile: %+v and %v", got, err)
		}
		if got, err := parseCallLine(text); err != nil && got != (callLine{}) {
			t.Errorf("parseCallLine: %+v and %v", got, err)
		}
		parseAuxiliary(text)
	})
}
