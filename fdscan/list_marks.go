package fdscan

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mark is what an inotify or fanotify instance watches: a file, or all of a
// mount or file system.
type mark struct {
	inode  uint64
	device uint64 // st_dev
	mount  int
	handle unix.FileHandle // of the file; see name_to_handle_at(2)
	hasOne bool
}

// parseMark reads a line of fdinfo behind its first word; ok is false for the
// line that tells of the instance itself:
//
//	wd:2 ino:124077 sdev:fe00000 mask:fff ignored_mask:0 fhandle-bytes:8 fhandle-type:1 f_handle:7740120007c4549a
func parseMark(s string) (m mark, ok bool) {
	facts := map[string]string{}
	for _, field := range strings.Fields(s) {
		name, value, _ := strings.Cut(field, ":")
		facts[name] = value
	}
	hexadecimal := func(name string) uint64 {
		n, _ := strconv.ParseUint(facts[name], 16, 64)
		return n
	}
	m.inode, m.mount = hexadecimal("ino"), int(hexadecimal("mnt_id"))
	// The kernel's own form of a device number has the minor in 20 bits.
	device := hexadecimal("sdev")
	m.device = unix.Mkdev(uint32(device>>20), uint32(device&0xfffff))
	handle, err := hex.DecodeString(facts["f_handle"])
	if err == nil && len(handle) > 0 {
		m.handle, m.hasOne = unix.NewFileHandle(int32(hexadecimal("fhandle-type")), handle), true
	}
	return m, facts["mask"] != ""
}

// tellMarks says what an inotify or fanotify instance watches.
func (l *lister) tellMarks(d *Descriptor) string {
	var marks []mark
	for _, f := range d.Details {
		if f.Name != "inotify" && f.Name != "fanotify" {
			continue
		}
		if m, ok := parseMark(f.Value); ok {
			marks = append(marks, m)
		}
	}
	if len(marks) == 0 {
		return "watches nothing"
	}
	return "watches " + several(marks, func(m mark) string { return l.markWords(d, m) })
}

func (l *lister) markWords(d *Descriptor, m mark) string {
	table := l.mounts(d)
	switch {
	case m.inode != 0:
		if path := l.pathOf(m); path != "" {
			return path
		}
		return fmt.Sprintf("inode %d on device %d:%d", m.inode, unix.Major(m.device), unix.Minor(m.device))
	case m.mount != 0:
		if on := table.byID[m.mount]; on != nil {
			return "the mount at " + on.point
		}
		return fmt.Sprintf("mount %d", m.mount)
	}
	for _, on := range table.all {
		if on.device == m.device {
			return "the file system at " + on.point
		}
	}
	return fmt.Sprintf("the file system on device %d:%d", unix.Major(m.device), unix.Minor(m.device))
}

// pathOf finds the path of a file by its handle: open_by_handle_at(2) with
// O_PATH, which needs CAP_DAC_READ_SEARCH and opens nothing; "" when that cannot
// be done. A handle is looked up in a file system that this command has mounted
// itself: where another process says that it has mounted it, here may be anything.
// Servers are not asked.
func (l *lister) pathOf(m mark) string {
	if !m.hasOne || l.Detached {
		return ""
	}
	own := l.ownMounts()
	for _, on := range own.all {
		if on.device != m.device || on.remote() || own.behindServer(on) {
			continue
		}
		path, err := openHandle(on.point, m)
		switch {
		case err == nil:
			return path
		case errors.Is(err, unix.EPERM):
			l.gap(Gap{Op: "open_by_handle_at", FD: -1, Err: "paths of watched files cannot be told", Needs: "CAP_DAC_READ_SEARCH", Scope: ScopeDetail})
			return ""
		}
	}
	return ""
}

// openHandle looks a handle up in the file system that is mounted on a directory.
// Whatever else has come to that place meanwhile is not opened, nor what has come
// to the place of the file.
func openHandle(point string, m mark) (path string, err error) {
	place, err := unix.Open(point, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(place)
	if identity(place).Device != m.device {
		return "", unix.EXDEV
	}
	at, err := unix.Openat(place, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(at)
	fd, err := unix.OpenByHandleAt(at, m.handle, unix.O_PATH|unix.O_CLOEXEC)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	if path, err = os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(fd)); err != nil {
		return "", err
	}
	if strings.HasSuffix(path, " (deleted)") {
		return path, nil
	}
	// The name may not be known, although the file is: then the path is wrong.
	below, ok := strings.CutPrefix(path, point)
	if !ok {
		return "", unix.ESTALE
	}
	named, err := unix.Openat2(at, cmp.Or(strings.TrimLeft(below, "/"), "."), &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return "", err
	}
	defer unix.Close(named)
	if identity(named) != (FileID{m.device, m.inode}) {
		return "", unix.ESTALE
	}
	return path, nil
}

// identity tells which file a descriptor of this process leads to; the zero FileID
// when that cannot be told.
func identity(fd int) FileID {
	var st unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_INO, &st) != nil {
		return FileID{}
	}
	return FileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}
}
