package fdtest

import (
	"fmt"
	"strconv"
	"strings"
)

// Descriptor is an open file descriptor of this process, as it was when a
// Snapshot was taken.
type Descriptor struct {
	FD int
	// Kind says what it refers to: "file", "directory", "pipe", "memfd",
	// "tcp listener", "udp socket", "unix stream socket", "eventpoll", "pidfd"
	// and so on: for what has no name in a file system, the kernel's word.
	Kind string
	// Name is the path of a file, as the kernel tells it; the end of a pipe; the
	// addresses of a socket (getsockname(2), and behind "→" getpeername(2)).
	Name string
	// Device and Inode are st_dev and st_ino of stat(2). All eventfds, epoll
	// instances, timerfds and their like have one inode together.
	Device, Inode uint64
	// Cookie is SO_COOKIE of a socket (Linux 4.12), which no other socket has
	// until the next boot; 0 otherwise.
	Cookie uint64
	// Flags are the access mode and the status flags (O_RDWR, O_APPEND,
	// O_NONBLOCK …; F_GETFL).
	Flags int
	// CloseOnExec is FD_CLOEXEC: execve(2) closes it.
	CloseOnExec bool
	// Keeper says who keeps the descriptor, if that is not the test but the
	// standard library: it is none of a test's leaks then.
	Keeper string

	link string // the text of /proc/self/fd/FD, with the kernel's name of its kind
}

// same reports whether the number leads to the same thing. What the kernel gives
// no identity, two eventfds in succession for instance, is the same.
func (d Descriptor) same(o Descriptor) bool {
	return d.Device == o.Device && d.Inode == o.Inode && d.Cookie == o.Cookie && kindText(d.link) == kindText(o.link)
}

// kindText is the part of a link text that does not change with a file's name.
func kindText(link string) string {
	if strings.HasPrefix(link, "/") {
		return ""
	}
	return link
}

// String is what is known of the descriptor, in a line.
func (d Descriptor) String() string { return "fd " + strconv.Itoa(d.FD) + ": " + d.what() }

// what is String without the number.
func (d Descriptor) what() string {
	text := d.Kind
	if d.Name != "" {
		text += " " + printable(d.Name)
	}
	cloexec := "FD_CLOEXEC"
	if !d.CloseOnExec {
		cloexec = "no FD_CLOEXEC"
	}
	return fmt.Sprintf("%s (%s, %s)", text, flagNames(d.Flags), cloexec)
}

// printable keeps what a file or socket is called from writing anything but
// text to a terminal.
func printable(s string) string {
	if quoted := strconv.Quote(s); quoted != `"`+s+`"` {
		return quoted
	}
	return s
}

// Snapshot is what this process had open at one moment. The zero value is
// nothing.
type Snapshot struct{ open []Descriptor } // by number

// Descriptors returns what was open, by number.
func (s Snapshot) Descriptors() []Descriptor { return append([]Descriptor(nil), s.open...) }

func (s Snapshot) find(fd int) (Descriptor, bool) {
	for _, d := range s.open {
		if d.FD == fd {
			return d, true
		}
	}
	return Descriptor{}, false
}

// Diff returns the descriptors of after that are not in before, by number: those
// with another number, and those whose number led elsewhere. A descriptor that
// the standard library keeps for itself is among them, with its Keeper.
func Diff(before, after Snapshot) []Descriptor {
	old := make(map[int]Descriptor, len(before.open))
	for _, d := range before.open {
		old[d.FD] = d
	}
	var found []Descriptor
	for _, d := range after.open {
		if o, ok := old[d.FD]; !ok || !d.same(o) {
			found = append(found, d)
		}
	}
	return found
}
