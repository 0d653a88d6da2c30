package follow

import (
	"fmt"
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

// leak is a descriptor of an image that has crossed an exec.
type leak struct {
	// harmless: it is one of the image's own standard streams again, under
	// another number, or a shell's pipe for one command.
	harmless bool
	// plumbing is Crossing.Plumbing.
	plumbing string
	// stands says for what it stands in the arguments of a program that is told of
	// it as a file. That may be known only after others have got it.
	stands string
	kept   *fdscan.Crossing // nil until something got it that was not told of it
}

// crossed looks at an entry that an exec has carried from what p was into another
// image. It reports whether the entry is none of the new program's business:
// then what that does with it, which is nothing, says nothing about it.
func (t *tree) crossed(p *process, shared bool, now *image, e entry) (foreign bool) {
	switch {
	case p.image.carried.has(e):
		return true // it has crossed before, and been told of then
	case p.copied && !shared && t.prepared(p, e):
		// Done by who knew of this exec: between fork and exec the descriptor was
		// put there, or FD_CLOEXEC taken off. A server that gets a socket in this
		// way answers for it from now on.
		return !isSocket(e)
	case !p.copied && p.image.exe == now.exe:
		// The program executes itself anew, and goes on with what it has.
		return !isSocket(e)
	case !isSocket(e) && t.isOwnCommand(p.image, now):
		return true
	}
	l := p.image.leaks[e]
	if l == nil {
		l = t.newLeak(p, e)
		if p.image.leaks == nil {
			p.image.leaks = map[entry]*leak{}
		}
		p.image.leaks[e] = l
	}
	if l.harmless || t.isStream(now.pid, e, now.pid) {
		return true
	}
	if now.named == nil {
		now.named = t.reader.Named(&fdscan.Process{PID: now.pid, Cmdline: now.argv})
	}
	if names(now.named, e) {
		if words := now.named[e.fd]; substitutes(words, e) {
			l.stands = fmt.Sprintf("it stands for a file: %s has %s", now.comm, words)
			l.tell()
		}
		return false
	}
	t.count(p, l, now, e)
	return true
}

// tell makes what is kept of a leak say what it stands for.
func (l *leak) tell() {
	if l.kept != nil && l.kept.Plumbing == "" {
		l.kept.Plumbing = l.stands
	}
}

// names reports whether an entry is among the descriptors that are named, with the
// words. A jobserver of make(1) is a pipe: what else has its number came to that
// when make had closed it for a command which is no make.
func names(named map[int]string, e entry) bool {
	words := named[e.fd]
	return words != "" && (fdscan.KindOf(e.link) == fdscan.Pipe || !strings.Contains(words, "--jobserver-"))
}

// got is what a program got by a leak.
type got struct {
	entry
	crossing *fdscan.Crossing
}

// dropped looks at what a program got, when it executes another or ends: what is
// not in the table of the thread any more, it has closed.
func (t *tree) dropped(p *process, tid int, left table) {
	if p.copied || p.image.forked {
		return // somebody else has it too
	}
	still := func(g got) bool {
		return slices.ContainsFunc(left, func(e entry) bool { return e == g.entry || e.link == g.link && tellsFile(e.link) })
	}
	if !slices.ContainsFunc(p.image.got, func(g got) bool { return !still(g) }) {
		return
	}
	// SIGKILL ends a thread even at the event that tells of its end: the table of
	// one that has gone on is empty, and says nothing.
	if all, err := t.tables.everything(p.pid, tid); err != nil || len(all) == 0 {
		return
	}
	for _, g := range p.image.got {
		if !still(g) {
			g.crossing.Closed++
		}
	}
}

func isSocket(e entry) bool { return strings.HasPrefix(e.link, "socket:[") }

// isOwnCommand reports that a program has executed itself to carry out one of its
// commands, as git(1) does: then no other program has got anything. A file as
// the first argument is what an interpreter executes, which is another program.
func (t *tree) isOwnCommand(before, now *image) bool {
	if len(now.argv) < 2 || !word().MatchString(now.argv[1]) {
		return false
	}
	return t.finds(func() bool {
		return sameProgram(before.exe, now.exe) && unix.Access(t.path(now.pid, "cwd/"+now.argv[1]), unix.F_OK) != nil
	})
}

// sameProgram reports whether two paths lead to one program: to one file, or to
// copies of it, since packages copy what a build has linked.
func sameProgram(a, b string) bool {
	if a == b || path.Base(a) != path.Base(b) {
		return a == b && a != ""
	}
	infoA, err1 := os.Stat(a)
	infoB, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && infoA.Size() == infoB.Size() && infoA.ModTime().Equal(infoB.ModTime())
}

// word is what commands of programs look like: rev-list.
var word = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`) })

// prepared reports whether a copy has made ready, for the program that it was to
// execute, what it did not have, or could not pass on, from its start.
func (t *tree) prepared(p *process, e entry) bool {
	i := p.inheritance(e)
	if i == nil {
		return true
	}
	if i.closing == unknown && t.link(p.parent, e.fd) == e.link {
		i.closing = t.closing(p.parent, e.fd)
	}
	return i.closing == yes
}

// newLeak finds out what there is to know of a descriptor of p's image, which p
// has carried into another.
func (t *tree) newLeak(p *process, e entry) *leak {
	return &leak{harmless: t.isStream(p.image.pid, e, p.image.pid) || t.isSubstitution(p.image, e), plumbing: t.plumbing(p, e)}
}

// isStream reports whether a descriptor of a process is one of the standard
// streams of another, or its own, under another number. The two ends of a pipe
// have the same link.
func (t *tree) isStream(pid int, e entry, of int) bool {
	for stream := range unix.Stderr + 1 {
		if t.link(of, stream) != e.link || !tellsFile(e.link) {
			continue
		}
		a, err1 := t.flags(pid, e.fd)
		b, err2 := t.flags(of, stream)
		if err1 == nil && err2 == nil && a&unix.O_ACCMODE == b&unix.O_ACCMODE {
			return true
		}
	}
	return false
}

// count adds a program to those that got a leak.
func (t *tree) count(p *process, l *leak, now *image, e entry) {
	if l.kept == nil {
		d := t.reader.Descriptor(&fdscan.Process{PID: now.pid}, 0, e.fd, e.link)
		from := p.image.exe + "\x00" + p.image.comm + "\x00" + strconv.Itoa(e.fd) + "\x00" + l.plumbing + "\x00"
		by := t.openedBy(p, 0, e)
		kept, key := t.crossings.of(from+by.sort()+sortOf(d), from+d.Kind.Name)
		if kept == nil {
			d.Process = t.process(now)
			if names(t.reader.Named(d.Process), e) {
				return // named to the process as it sees itself, in its pid namespace
			}
			d.Opening = t.tell(by)
			kept = &fdscan.Crossing{Descriptor: d, From: t.process(p.image), Plumbing: l.plumbing}
			t.crossings.keep(key, kept)
		}
		l.kept = kept
		l.tell()
	}
	l.kept.Count++
	now.got = append(now.got, got{e, l.kept})
	const mostNames = 5
	if i, known := slices.BinarySearch(l.kept.Into, now.comm); !known && len(l.kept.Into) < mostNames {
		l.kept.Into = slices.Insert(l.kept.Into, i, now.comm)
	}
}

// sortOf tells sorts of descriptors apart, and not descriptors of one sort: of
// sockets and files that have names, by these.
func sortOf(d *fdscan.Descriptor) string {
	switch s := d.Socket; {
	case s != nil && (s.State == fdscan.Listen || s.State == fdscan.Bound):
		return string(s.Protocol) + string(s.State) + s.Local.Addr.String() + strconv.Itoa(int(s.Local.Port)) + s.Local.Path
	case s != nil:
		return d.Kind.Name + string(s.Protocol)
	case strings.HasPrefix(d.Link, "/"):
		return d.Link
	}
	return d.Kind.Name
}

// leftOpen looks at a descriptor that p had opened, and has when it ends.
func (t *tree) leftOpen(p *process, tid int, e entry, status unix.WaitStatus) {
	if strings.HasPrefix(e.link, "anon_inode:") || isScript(p.image, e) || isProcessorLimit(e) {
		return // an event loop's; an interpreter's; the Go runtime's
	}
	by := t.openedBy(p, tid, e)
	coarse := p.image.exe + "\x00" + p.image.comm + "\x00"
	key := coarse + by.sort()
	if strings.HasPrefix(e.link, "/") {
		if kept := t.unclosed.sorts[key+e.link]; kept != nil {
			kept.Count++
			return
		}
	}
	d := t.reader.Descriptor(&fdscan.Process{PID: p.pid}, tid, e.fd, e.link)
	if d.Kind == fdscan.Pipe && d.CloseOnExec != nil && *d.CloseOnExec {
		return // by which a runtime wakes itself, or waits for exec
	}
	kept, key := t.unclosed.of(key+sortOf(d), coarse+d.Kind.Name)
	if kept == nil {
		d.Process = t.process(p.image)
		if p.pid != p.image.pid {
			if full, err := t.reader.Process(p.pid); err == nil {
				d.Process = full
			}
		}
		d.Opening = t.tell(by)
		kept = &fdscan.Unclosed{Descriptor: d}
		if status.Signaled() {
			kept.Signal = int(status.Signal())
		}
		t.unclosed.keep(key, kept)
	}
	kept.Count++
}

// isProcessorLimit reports a file of a control group by which Go programs learn, for as
// long as they run, how many processors they may use (Go 1.25).
func isProcessorLimit(e entry) bool {
	return strings.HasPrefix(e.link, "/sys/fs/cgroup/") && slices.Contains([]string{"cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"}, path.Base(e.link))
}

// isScript reports the file that an interpreter reads what it does from.
func isScript(i *image, e entry) bool {
	return strings.HasPrefix(e.link, "/") && slices.ContainsFunc(i.argv[min(1, len(i.argv)):], func(argument string) bool {
		return path.Base(argument) == path.Base(e.link)
	}) && e.fd >= 10
}
