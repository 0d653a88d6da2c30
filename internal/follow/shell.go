package follow

import (
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"stray/fdscan"
)

// redirection finds the numbers that a command for a shell redirects: 3>log,
// 5<&0, 9<>lock.
var redirection = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:^|[^0-9A-Za-z_$])(\d{1,9})[<>]`) })

// plumbing says what shows that the image of p opens descriptors for the programs
// that it starts: it is a shell, or interprets a script, and so its descriptors
// without FD_CLOEXEC are the redirections which that says.
func (t *tree) plumbing(p *process, e entry) string {
	for _, argument := range p.image.argv[min(1, len(p.image.argv)):] {
		for _, m := range redirection().FindAllStringSubmatch(argument, -1) {
			if m[1] == strconv.Itoa(e.fd) {
				return "its arguments redirect " + m[1]
			}
		}
	}
	if p.image.script != "" {
		return "a redirection of the script " + p.image.script
	}
	if t.isShell(p.image) && !(isSocket(e) && p.image.received.has(e)) {
		return "a redirection of a shell"
	}
	if t.isReadScript(p, e) {
		return "the script that it interprets"
	}
	return ownAffair(p.image, e)
}

// ownAffair says why it is no fault of what is checked that a tool, on which builds
// and tests run, passes something on. Most do so by mistake; told as an error it would
// be one in every run, and one that nobody there can cure.
func ownAffair(i *image, e entry) string {
	isFile := strings.HasPrefix(e.link, "/")
	switch name := path.Base(i.exe); {
	case isFile && (name == "cmake" || name == "ctest"):
		return name + " opens its own files without FD_CLOEXEC"
	case name == "ninja" && fdscan.KindOf(e.link) == fdscan.Pipe:
		return "ninja learns by this pipe that a command of its console pool has ended"
	case isFile && name == "flock" && slices.ContainsFunc(i.argv, func(argument string) bool { return path.Base(argument) == path.Base(e.link) }):
		return "flock(1) passes its lock on, unless -o tells it not to"
	}
	return ""
}

// isReadScript reports a file that an argument of p's image names, open for
// reading, that begins as a script does: "#!", "<?php". PHP keeps it under the
// first number that is free, and passes it on.
func (t *tree) isReadScript(p *process, e entry) bool {
	named := slices.ContainsFunc(p.image.argv[min(1, len(p.image.argv)):], func(argument string) bool {
		return path.Base(argument) == path.Base(e.link)
	})
	if !named || !strings.HasPrefix(e.link, "/") {
		return false
	}
	if flags, err := t.flags(p.pid, e.fd); err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY {
		return false
	}
	name := t.path(p.pid, "fd/"+strconv.Itoa(e.fd))
	return t.finds(func() bool { return beginsAsScript(name) })
}

func beginsAsScript(name string) bool {
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return false // to open a device can do things
	}
	file, err := os.Open(name)
	if err != nil {
		return false
	}
	defer file.Close()
	var start [2]byte
	_, err = file.ReadAt(start[:], 0)
	return err == nil && (string(start[:]) == "#!" || string(start[:]) == "<?")
}

// findScript notes the script that an image interprets, by what its process has at
// its first fork: an interpreter of POSIX's shell language keeps the script out of
// the way of redirections, at 10 or above, and from other programs, by FD_CLOEXEC.
// Later is too late, since bash and dash close it in their copies.
func (i *image) findScript(has []inheritance) {
	if i.forked {
		return
	}
	i.forked = true
	for _, argument := range i.argv[min(1, len(i.argv)):] {
		if slices.ContainsFunc(has, func(h inheritance) bool {
			return h.fd >= firstOwn && h.closing == yes && strings.HasPrefix(h.link, "/") && path.Base(h.link) == path.Base(argument)
		}) {
			i.script = argument
			return
		}
	}
}

// firstOwn is where the numbers begin that shells keep for themselves: those
// below are for redirections.
const firstOwn = 10

// isSubstitution reports a pipe that a shell has made to put another command in
// the place of a file, as in diff <(sort a) <(sort b), and that every command has
// which it starts meanwhile.
func (t *tree) isSubstitution(i *image, e entry) bool {
	return e.fd >= firstOwn && fdscan.KindOf(e.link) == fdscan.Pipe && t.isShell(i)
}

// asFile finds the numbers of descriptors that an argument names as files.
var asFile = regexp.MustCompile(`(?:/dev/fd|/proc/self/fd)/(\d+)`)

// substitutes reports words that name a pipe as the file of its number: that is how
// any shell puts another command in the place of a file, whether this machine
// lists it for one or not.
func substitutes(words string, e entry) bool {
	return e.fd >= firstOwn && fdscan.KindOf(e.link) == fdscan.Pipe && slices.ContainsFunc(asFile.FindAllStringSubmatch(words, -1), func(m []string) bool {
		return m[1] == strconv.Itoa(e.fd)
	})
}

// isShell reports a program that the machine has for a shell (shells(5)), run
// under a name that is one of a shell, since it may be others under other names,
// as busybox is.
func (t *tree) isShell(i *image) bool {
	if len(i.argv) == 0 || !strings.HasSuffix(path.Base(i.argv[0]), "sh") {
		return false
	}
	return t.finds(func() bool {
		exe, err := os.Stat(i.exe)
		return err == nil && slices.ContainsFunc(t.shells(), func(shell os.FileInfo) bool { return os.SameFile(shell, exe) })
	})
}

// shells returns the programs that shells(5) lists, and what system(3) runs.
func shells() (programs []os.FileInfo) {
	text, _ := os.ReadFile("/etc/shells")
	for line := range strings.Lines("/bin/sh\n" + string(text)) {
		if info, err := os.Stat(strings.TrimSpace(line)); err == nil && info.Mode().IsRegular() {
			programs = append(programs, info)
		}
	}
	return programs
}
