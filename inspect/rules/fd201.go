package rules

import (
	"fmt"

	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD201",
	Name:         "open-at-exit",
	Severity:     inspect.Note,
	SeverityNote: "error with --open-at-exit, unless a signal has ended the process",
	Title:        "still open when the process that opened it ended",
	Text: `A process has ended, and what it had opened itself was open still. The kernel
closes it then, so that nothing is lost by that; but what a program never
closes, it opens again and again while it runs, or leaves its peer without a
proper end, or loses what a buffer still held.

Left out: the standard streams, what came from the parent or the caller, the
descriptors of event loops (epoll, eventfd, timerfd, signalfd, inotify,
io_uring, pipes with FD_CLOEXEC), the script that an interpreter reads, and the
files by which the Go runtime learns its limit of processors.
Many programs leave the rest to exit on purpose: hence a note, and
--open-at-exit for those who mean to close everything.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "close(2), fclose(3) on every way out; atexit(3) for what lives as long as the program."},
		{Language: "C++/Asio", Text: "an owner with a destructor; exit(3) and quick_exit(3) run no destructors of local objects."},
		{Language: "Go", Text: "defer f.Close(); os.Exit and log.Fatal run no deferred calls."},
		{Language: "Python", Text: "with open(…) as f; -W error::ResourceWarning shows where one was forgotten."},
		{Language: "Node", Text: "await handle.close(); server.close() and socket.destroy() before the end."},
	},
	Needs: inspect.SightRun,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		for _, u := range v.Run.Unclosed {
			how := ""
			if u.Signal != 0 {
				how = fmt.Sprintf(" by signal %d", u.Signal)
			}
			more := ""
			if u.Count > 1 {
				more = fmt.Sprintf("; %d processes of this program did", u.Count)
			}
			f := inspect.NewDescriptorFinding(r, v, u.Descriptor, nil, fmt.Sprintf("%s ended%s with fd %d open, %s%s", who(u.Process), how, u.FD, what(u.Descriptor), more))
			if v.Run.OpenAtExit && u.Signal == 0 {
				f.Severity = inspect.Error
			}
			tellOpening(v, &f, u.Opening)
			findings = append(findings, f)
		}
		return findings
	},
	Starved: func(v *inspect.View) string {
		if v.Run.Sampled {
			return "the command was sampled, and what is open at an exit was not seen"
		}
		return unreadTables(v)
	},
})
