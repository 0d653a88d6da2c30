package unwind

import (
	"io"
	"strconv"

	"golang.org/x/sys/unix"
)

// moduleFile is a regular file, open or to be opened again.
type moduleFile struct {
	fd    int // one more than the descriptor: 0 is closed
	names []string
	size  int64
	// What tells the file from another one that has its name later.
	device, inode uint64
	written       unix.Timespec
	mount         uint64 // that it is on; 0 before Linux 5.8
}

func (f *moduleFile) isOpen() bool { return f.fd > 0 }

// open opens a file by its name, if it is a regular one: others may do things when
// they are opened (a watchdog, a tape), and whoever is followed may have put them
// there.
func (f *moduleFile) open(root, name string) error {
	path, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(path)
	var st unix.Stat_t
	if err := unix.Fstat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EINVAL
	}
	fd, err := unix.Open(root+"/self/fd/"+strconv.Itoa(path), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	var details unix.Statx_t
	if unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &details) == nil && details.Mask&unix.STATX_MNT_ID != 0 {
		f.mount = details.Mnt_id
	}
	f.fd, f.size, f.device, f.inode, f.written = fd+1, st.Size, st.Dev, st.Ino, st.Mtim
	return nil
}

// reopen opens the file by the name that it had, if that is the same file still.
func (f *moduleFile) reopen(root string) error {
	for _, name := range f.names {
		var again moduleFile
		if again.open(root, name) != nil {
			continue
		}
		if again.device == f.device && again.inode == f.inode && again.size == f.size && again.written == f.written {
			f.fd = again.fd
			return nil
		}
		again.close()
	}
	return unix.ESTALE
}

func (f *moduleFile) close() {
	if f.isOpen() {
		unix.Close(f.fd - 1)
		f.fd = 0
	}
}

// ReadAt reads like an io.ReaderAt.
func (f *moduleFile) ReadAt(b []byte, offset int64) (int, error) {
	total := 0
	for total < len(b) {
		n, err := unix.Pread(f.fd-1, b[total:], offset+int64(total))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return total, err
		case n <= 0:
			return total, io.EOF
		default:
			total += n
		}
	}
	return total, nil
}
