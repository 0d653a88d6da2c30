package fdscan

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mappings finds the references to files that are no descriptors: the program
// itself, the working and root directories, and memory mappings.
func (s *shard) mappings(pid int) {
	seen := map[FileID]bool{}
	for _, link := range [...]struct{ file, note string }{{"exe", "program"}, {"cwd", "working directory"}, {"root", "root directory"}} {
		var st unix.Statx_t
		if unix.Statx(unix.AT_FDCWD, s.name(pid, 0, link.file), unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_INO, &st) != nil {
			continue
		}
		if id := (FileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}); s.want.Files[id] {
			seen[id] = link.file == "exe" // which is mapped, too
			s.found(Ref{PID: pid, FD: -1, Kind: RefFile, File: id, Via: ViaMemory, Note: link.note})
		}
	}
	// An error is a gap already, when the descriptors could not be read either.
	_ = eachLine(s.name(pid, 0, "maps"), func(line []byte) error {
		if id, ok := s.mapped(pid, line); ok && !seen[id] {
			seen[id] = true
			s.found(Ref{PID: pid, FD: -1, Kind: RefFile, File: id, Via: ViaMemory, Note: "mapping"})
		}
		return nil
	})
}

// mapped returns the wanted file that a line of /proc/PID/maps is about. The
// device there is that of a whole file system, where stat(2) tells a subvolume
// of btrfs or a layer of overlayfs: then the mapping itself is asked, which takes
// CAP_CHECKPOINT_RESTORE (Linux 5.9).
func (s *shard) mapped(pid int, line []byte) (id FileID, ok bool) {
	id, ok = parseMapping(line)
	if !ok || s.want.Files[id] {
		return id, ok
	}
	for wanted := range s.want.Files {
		if wanted.Inode != id.Inode {
			continue
		}
		addresses, _, _ := bytes.Cut(line, []byte(" "))
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, s.name(pid, 0, "map_files/"+string(addresses)), unix.AT_STATX_DONT_SYNC|unix.AT_NO_AUTOMOUNT, unix.STATX_INO, &st)
		id = FileID{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino}
		return id, err == nil && s.want.Files[id]
	}
	return id, false
}

// parseMapping reads device and inode of a line of /proc/PID/maps:
// "address perms offset major:minor inode path". ok is false for memory that
// no file is behind.
func parseMapping(line []byte) (id FileID, ok bool) {
	fields := bytes.Fields(line)
	if len(fields) < 6 {
		return FileID{}, false
	}
	majorText, minorText, _ := strings.Cut(string(fields[3]), ":")
	major, err1 := strconv.ParseUint(majorText, 16, 32)
	minor, err2 := strconv.ParseUint(minorText, 16, 32)
	inode, err3 := strconv.ParseUint(string(fields[4]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || inode == 0 {
		return FileID{}, false
	}
	return FileID{unix.Mkdev(uint32(major), uint32(minor)), inode}, true
}
