package rules

import (
	"fmt"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD105",
	Name:         "descriptor-crossed-exec",
	Severity:     inspect.Warning,
	SeverityNote: "error in check; note for /dev/null and its like, and for what a shell script redirects",
	Title:        "a descriptor above standard error that exec has carried into another program",
	Text: `A program opens a file, pipe or socket without FD_CLOEXEC and starts another
one, which inherits it under the same number and knows nothing of it. For as
long as that runs, the file keeps its space and its lock, the reader of the pipe
waits for an end that does not come, and whoever may not read the file may read
the descriptor.

It is recognised by one open file description (kcmp(2)) at the same number in
the program and in a living ancestor that runs another one, with FD_CLOEXEC
clear. When the ancestor has ended, or has closed its own, nothing tells any
more.

Not reported: standard input, output and error, and what is one of them under
another number; a descriptor that arguments or environment name (/dev/fd/63,
--fd=4, MAKEFLAGS, LISTEN_FDS, NODE_CHANNEL_FD …); one that the program waits
on, since it knows it; and what a program has from a parent that does nothing
but wait for its end, as a shell does: the copy does not outlive the original
then. Listeners are FD101's, connections FD104's.

When a command is followed ("stray check"), every exec is seen, and what is open
then, above the standard streams, was carried into the new program: of programs
that live for a moment, and whether the opener has ended or not. Not reported
there is also what the caller had passed to the command; what was put in place
between fork and exec, or had FD_CLOEXEC taken off there, since whoever did that
knew of the program (posix_spawn file actions, ExtraFiles, pass_fds, and
redirections for one command); and what a program got in this way and passes on,
since only the first exec counts. It is a note when the program has closed it
itself, or when a script's redirection or a tool of builds (cmake, ctest, ninja,
flock) has passed it on. What a program is to find under a number that nothing
names needs an entry among the ignores.`,
	Cures: []inspect.Cure{
		{
			Language: "C", Text: "ask for it where the descriptor is made: O_CLOEXEC, SOCK_CLOEXEC, pipe2, dup3, F_DUPFD_CLOEXEC, EPOLL_CLOEXEC, \"e\" in fopen. A flag set afterwards leaves a gap for other threads. Before exec, close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) catches the rest.",
			Before: "int fd = open(path, O_RDWR);\npipe(ends);",
			After:  "int fd = open(path, O_RDWR | O_CLOEXEC);\npipe2(ends, O_CLOEXEC);",
		},
		{Language: "C++/Asio", Text: "Asio's sockets, pipes and files lack it: fcntl(native_handle(), F_SETFD, FD_CLOEXEC) after opening. std::fstream lacks it too: open with O_CLOEXEC and use the descriptor, or close_range in the child."},
		{Language: "Go", Text: "os and net set it. With syscall or unix add O_CLOEXEC, SOCK_CLOEXEC; pass what the child shall have in exec.Cmd.ExtraFiles."},
		{
			Language: "Python", Text: "descriptors are not inheritable since 3.4, and subprocess closes the others: leave close_fds as it is and pass what the child shall have in pass_fds.",
			Before: "subprocess.Popen(cmd, close_fds=False)",
			After:  "subprocess.Popen(cmd, pass_fds=(log.fileno(),))",
		},
		{Language: "Node", Text: "libuv sets it. What stdio of spawn() names is meant to cross; native add-ons have to set it themselves."},
		{Language: "Rust", Text: "std sets it. With libc or nix add OFlag::O_CLOEXEC; from_raw_fd() takes what it gets."},
		{Language: "Java", Text: "ProcessBuilder closes descriptors above 2 in the child; native code has to do so itself."},
		{Language: "Crystal", Text: "io.close_on_exec = true after opening; what Process.new shall pass goes into input, output and error."},
		{
			Language: "shell", Text: "what exec opens, every later command inherits: close it for those that shall not have it, or give it to one command only.",
			Before: "exec 9>lock; flock 9; daemon &",
			After:  "exec 9>lock; flock 9; daemon 9>&- &",
		},
	},
	Needs: inspect.SightTables, Or: inspect.SightRun,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		if v.Run != nil {
			return descriptorsCrossed(r, v)
		}
		judged := map[*fdscan.Socket]*inspect.Socket{}
		for _, s := range v.Sockets {
			judged[s.Socket] = s
		}
		harmless := func(d *fdscan.Descriptor) bool { return !isStray(v, judged[d.Socket], d) }
		for rest := v.Descriptors; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].Process == rest[0].Process {
				n++
			}
			findings = append(findings, carried(r, slices.DeleteFunc(slices.Clone(rest[:n]), harmless))...)
			rest = rest[n:]
		}
		return findings
	},
	Starved: func(v *inspect.View) string {
		if v.Run != nil {
			return unreadTables(v)
		}
		return inspect.UnreadHolders(v.Snapshot)
	},
})

// carried makes a finding of descriptors of one process that have crossed an exec
// for nothing, one for each process that they come from.
func carried(r *inspect.Rule, strays []*fdscan.Descriptor) (findings []inspect.Finding) {
	for len(strays) > 0 {
		first := strays[0]
		fromAnother := func(d *fdscan.Descriptor) bool { return d.From != first.From }
		same := slices.DeleteFunc(slices.Clone(strays), fromAnother)
		strays = slices.DeleteFunc(strays, func(d *fdscan.Descriptor) bool { return d.From == first.From })
		var what, about []string
		for _, d := range same {
			what = append(what, fmt.Sprintf("fd %d %s%s", d.FD, describe(d), locked(d)))
			about = append(about, d.Kind.Name)
		}
		slices.Sort(about)
		message := fmt.Sprintf("%s carries a descriptor of %s across exec: %s", who(first.Process), who(first.From), what[0])
		if n := len(what); n > 1 {
			message = fmt.Sprintf("%s carries %d descriptors of %s across exec: %s", who(first.Process), n, who(first.From), enumerate(what))
		}
		f := inspect.NewProcessFinding(r, first.Process, first.FD, message, append(about, first.From.Comm)...)
		f.Inode, f.Descriptors = first.Inode, same
		for i, w := range what {
			f.Evidence = append(f.Evidence, w+": one open file description with "+who(first.From)+", FD_CLOEXEC is clear")
			for _, lock := range same[i].Locks {
				f.Evidence = append(f.Evidence, fmt.Sprintf("fd %d keeps a lock, %s %s: it lasts until the last copy is closed, or one is unlocked", same[i].FD, lock.Type, lock.Access))
			}
		}
		if !slices.ContainsFunc(same, func(d *fdscan.Descriptor) bool { return !slices.Contains(memoryDevices, d.Link) }) {
			f.Severity = inspect.Note
		}
		f.Next = append([]string{fmt.Sprintf("stray scan --fds -p %d", first.Process.PID)}, f.Next...)
		findings = append(findings, f)
	}
	return findings
}

// memoryDevices keep nothing that anybody could miss (mem(4), random(4)).
var memoryDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// isStray reports a descriptor that has crossed an exec and that the program
// does not know. s is its socket, if it is one that was judged.
func isStray(v *inspect.View, s *inspect.Socket, d *fdscan.Descriptor) bool {
	p := d.Process
	switch e := p.Evidence; {
	case d.From == nil, d.FD <= 2, e == nil:
		return false
	case e.HandOvers[d.FD] != "", e.Activated > 0 && d.FD < 3+e.Activated:
		return false
	case s != nil && toldAlready(s, d.Process):
		return false
	case slices.ContainsFunc(e.Waits, func(w fdscan.Wait) bool { return slices.Contains(w.Suspects, d.FD) }):
		return false
	}
	return !waitsForChildren(v.Parent(p))
}

// toldAlready reports a socket of p that other rules speak of.
func toldAlready(s *inspect.Socket, p *fdscan.Process) bool {
	return s.IsPort() || slices.ContainsFunc(s.Holders, func(h *inspect.Holder) bool { return h.Process == p && h.Origin.Leak })
}

// waitsForChildren reports a process that is in wait(2), and whose other threads,
// if there are any, sleep: it does nothing before a child has ended.
func waitsForChildren(p *fdscan.Process) bool {
	if p == nil || p.Evidence == nil {
		return false
	}
	waits := false
	for _, w := range p.Evidence.Waits {
		if w.Kind != fdscan.WaitPassive {
			return false
		}
		waits = waits || w.Call == "wait4" || w.Call == "waitid"
	}
	return waits
}

// describe says what a descriptor refers to.
func describe(d *fdscan.Descriptor) string {
	switch {
	case d.Target != "":
		return d.Target
	case strings.HasPrefix(d.Link, "/"):
		return d.Link
	}
	return d.Kind.Name
}

// locked says that a lock is held through d.
func locked(d *fdscan.Descriptor) string {
	if len(d.Locks) == 0 {
		return ""
	}
	return ", locked"
}

// mostEnumerated is how many things a message names before it counts the rest.
const mostEnumerated = 4

func enumerate(words []string) string {
	if len(words) <= mostEnumerated {
		return strings.Join(words, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(words[:mostEnumerated], ", "), len(words)-mostEnumerated)
}
