package unwind

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"path"
	"strings"
)

const (
	// debugDirectory is where distributions install debugging information.
	debugDirectory = "/usr/lib/debug"
	// maxNote bounds a build id, and the name of a file, with what is around it.
	maxNote = 4096
)

// withDebugFile calls use with the file that has the debugging information of the
// module, if there is one on this machine that belongs to it: by its build id or
// by the name in the section .gnu_debuglink, as gdb(1) finds it.
func (l *library) withDebugFile(m *module, use func(io.ReaderAt)) {
	id := buildID(m.image)
	var candidates []string
	if len(id) > 1 {
		text := hex.EncodeToString(id)
		candidates = append(candidates, debugDirectory+"/.build-id/"+text[:2]+"/"+text[2:]+".debug")
	}
	name, sum := debugLink(m.image)
	if name != "" && path.IsAbs(m.path) {
		dir := path.Dir(m.path)
		candidates = append(candidates, path.Join(dir, name), path.Join(dir, ".debug", name), path.Join(debugDirectory, dir, name))
	}
	for _, name := range candidates {
		if name != m.path && tryDebugFile(l.root, name, id, sum, use) {
			return
		}
	}
}

// tryDebugFile calls use with the file, if it has the build id or the checksum.
func tryDebugFile(root, name string, id []byte, sum uint32, use func(io.ReaderAt)) bool {
	var f moduleFile
	if f.open(root, name) != nil {
		return false
	}
	defer f.close()
	if !belongs(&f, id, sum) {
		return false
	}
	use(&f)
	return true
}

// belongs reports whether a file has the build id, or the checksum where there
// is no build id.
func belongs(f *moduleFile, id []byte, sum uint32) bool {
	if len(id) > 0 {
		other, err := readImage(f)
		return err == nil && bytes.Equal(buildID(other), id)
	}
	if f.size > maxDebugInfo {
		return false
	}
	h := crc32.NewIEEE()
	_, err := io.Copy(h, io.NewSectionReader(f, 0, f.size))
	return err == nil && h.Sum32() == sum
}

// contents returns the bytes of a small section; of a file of debugging
// information too, where those that were loaded are left out and notes are not.
func (i *image) contents(name string) []byte {
	s, ok := i.section(name)
	if !ok || s.size > maxNote {
		return nil
	}
	b := make([]byte, s.size)
	n, _ := i.file.ReadAt(b, int64(s.offset&(1<<62-1)))
	return b[:n]
}

// buildID returns what the linker identifies the program by, nil when it did not.
func buildID(i *image) []byte {
	c := cursor{b: i.contents(".note.gnu.build-id")}
	name, size, kind := c.u32(), c.u32(), c.u32()
	const buildIDNote = 3 // NT_GNU_BUILD_ID
	if owner := c.take(uint64(name)); kind != buildIDNote || string(owner) != "GNU\x00" {
		return nil
	}
	return c.take(uint64(size))
}

// debugLink returns the name of the file that has the debugging information, and
// its checksum.
func debugLink(i *image) (name string, sum uint32) {
	b := i.contents(".gnu_debuglink")
	c := cursor{b: b}
	name = c.text()
	if c.bad || len(b) < 4 || strings.Contains(name, "/") || strings.HasPrefix(name, ".") {
		return "", 0
	}
	return name, binary.LittleEndian.Uint32(b[len(b)-4:])
}
