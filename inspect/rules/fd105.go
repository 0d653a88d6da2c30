package rules

import (
	"fmt"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD105",
	Name:         "descriptor-crossed-exec",
	Severity:     inspect.Error,
	SeverityNote: "note for the redirections of a shell script",
	Title:        "a descriptor carried into a program that was not told of it",
	Text: `A program opens a file, a pipe or a connection without FD_CLOEXEC, and starts
another one. That gets the descriptor, knows nothing of it, and keeps it open
for as long as it runs: a pipe never ends, a connection is never closed, a
deleted file keeps its space, a lock stays taken, a secret can be read.

It is seen at the exec itself: whatever is open then, above the standard
streams, was carried into the new program.

Not reported: what the caller had passed to the command; what the arguments or
the environment name (MAKEFLAGS, LISTEN_FDS, NODE_CHANNEL_FD, /dev/fd/N …);
what was put there between fork and exec, or had FD_CLOEXEC taken off there,
since whoever did that knew of the program (posix_spawn file actions,
ExtraFiles, pass_fds, cmd 3>file); another number for one of the standard
streams; and what a program got in this way and passes on: only the first exec
counts. The redirections of a shell script (exec 5>config.log) are a note.

A program that is meant to find a descriptor under a number that nothing names
needs an entry among the ignores.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "O_CLOEXEC, SOCK_CLOEXEC, pipe2(O_CLOEXEC), fopen(…, \"e\"), F_DUPFD_CLOEXEC, at creation. In a child that is about to exec: close_range(3, ~0U, 0)."},
		{Language: "C++", Text: "std::fstream and boost open without it: fcntl(fd, F_SETFD, FD_CLOEXEC), or close_range(3, ~0U, 0) in the child before exec."},
		{Language: "Go", Text: "package os sets it. With syscall.Open or unix.Open add O_CLOEXEC, and hold syscall.ForkLock where that is not atomic."},
		{Language: "Python", Text: "descriptors are not inheritable since 3.4; do not call os.set_inheritable(fd, True), keep close_fds=True, and name what shall pass in pass_fds."},
		{Language: "Node", Text: "libuv sets it; what add-ons open needs O_CLOEXEC. What shall pass goes into the stdio option of spawn()."},
		{Language: "Java", Text: "ProcessBuilder closes what is above 2 in the child; native libraries that fork themselves do not."},
		{Language: "shell", Text: "close it for the child: command 5>&- (with the number of the descriptor)."},
	},
	Needs: inspect.SightRun,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		eachCrossing(v, func(c *fdscan.Crossing) {
			if isListener(c.Descriptor) {
				return // FD101
			}
			findings = append(findings, crossing(r, c, fmt.Sprintf("%s carries fd %d, %s of %s, across the exec of %q: it lacks FD_CLOEXEC%s",
				who(c.Process), c.FD, what(c.Descriptor), who(c.From), command(c.Process), others(c))))
		})
		return findings
	},
	Starved: unreadTables,
})

// unreadTables says that descriptor tables of a followed command could not be
// read.
func unreadTables(v *inspect.View) string {
	for _, g := range v.Run.Unread {
		return fmt.Sprintf("the descriptors of pid %d could not be read: %s", g.PID, g.Err)
	}
	return ""
}
