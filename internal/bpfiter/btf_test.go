package bpfiter

import (
	"testing"

	"stray/internal/testenv"
)

// What is no description of types, or the beginning of one, is an error.
func TestLayoutOfWhatIsCutOff(t *testing.T) {
	data, release, err := mapBTF()
	testenv.NeedWorking(t, "a kernel that describes its types", err)
	defer release()
	if _, err := readLayout(data); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(data); n += 1 + n/3 {
		if l, err := readLayout(data[:n]); err == nil {
			t.Errorf("%d of %d bytes: %+v", n, len(data), l)
		}
	}
	// The types alone, each cut where it may be in the middle of one.
	whole, err := parseBTF(data)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(whole.types); n += 1 + n/3 {
		b := btf{types: whole.types[:n], names: whole.names[:min(n, len(whole.names))]}
		wanted := []*named{{name: "bpf_rdonly_cast", kind: kindFunc}, {name: "no_such_structure", kind: kindStruct}}
		if err := b.find(wanted); err == nil {
			t.Errorf("%d bytes of types have everything", n)
		}
	}
}

func TestLayoutOfOtherFiles(t *testing.T) {
	for _, data := range [][]byte{nil, []byte("\x7fELF"), make([]byte, 64), append([]byte{0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}, make([]byte, 64)...)} {
		if _, err := readLayout(data); err == nil {
			t.Errorf("%q is a description of types", data)
		}
	}
}

func BenchmarkLayout(b *testing.B) {
	for b.Loop() {
		data, release, err := mapBTF()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := readLayout(data); err != nil {
			b.Fatal(err)
		}
		release()
	}
}
