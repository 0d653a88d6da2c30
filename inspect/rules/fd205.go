package rules

import (
	"fmt"

	"stray/fdscan"
	"stray/inspect"
)

// muchSpace is how many bytes a deleted file takes that is worth a warning.
const muchSpace = 100_000_000

var _ = register(&inspect.Rule{
	ID:           "FD205",
	Name:         "deleted-held",
	Severity:     inspect.Note,
	SeverityNote: "warning above 100 MB",
	Title:        "a deleted file keeps its space, since a process has it open",
	Text: `Deleting a file takes its name away; its space is given back when the last
descriptor is closed. A log that is rotated by deleting it, while its writer
goes on, fills the disk where du finds nothing and df finds no room.

It is recognised by a link count of 0 and by the space that the file takes. A
temporary file that a program deletes on purpose, to have it to itself, looks
alike: that is why this is a note as long as it is small. Memory files
(memfd_create) never had a name and are not meant.

To get the space back at once without ending the process, truncate the file
through the descriptor: "truncate -s 0 /proc/PID/fd/N". A writer without
O_APPEND goes on at its old position then, and leaves a hole.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "open the log again on SIGHUP, or write with O_APPEND to standard error and let the supervisor rotate. For temporary files open(dir, O_TMPFILE | O_RDWR)."},
		{Language: "C++/Asio", Text: "close and open the stream again when asked to (SIGHUP through signal_set); spdlog and the like have a sink that does."},
		{Language: "Go", Text: "open the file again on SIGHUP; os.CreateTemp leaves closing and removing to the caller."},
		{
			Language: "Python", Text: "logging.handlers.WatchedFileHandler sees that its file has been replaced.",
			Before: "logging.FileHandler(path)",
			After:  "logging.handlers.WatchedFileHandler(path)",
		},
		{Language: "Node", Text: "open the stream again on SIGHUP (file.reopen() of many loggers)."},
		{Language: "Rust", Text: "open the file again on SIGHUP; tempfile() deletes its file on purpose and gives the space back on drop."},
		{Language: "Java", Text: "a rolling appender of the logging framework, in place of an external rotation that deletes."},
		{Language: "Crystal", Text: "open the file again on Signal::HUP."},
		{
			Language: "shell", Text: "let logrotate tell the writer (postrotate), or copy and truncate.",
			Before: "rm app.log",
			After:  ": > app.log",
		},
	},
	Needs: inspect.SightTables,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		holders := map[fdscan.FileID][]*fdscan.Descriptor{}
		var files []fdscan.FileID
		for _, d := range v.Descriptors {
			if !d.Deleted || d.Allocated == nil || *d.Allocated == 0 {
				continue
			}
			id := fdscan.FileID{Device: d.Device, Inode: d.Inode}
			if holders[id] == nil {
				files = append(files, id)
			}
			holders[id] = append(holders[id], d)
		}
		for _, id := range files {
			findings = append(findings, deletedFile(r, holders[id]))
		}
		return findings
	},
	Starved: func(v *inspect.View) string { return inspect.UnreadHolders(v.Snapshot) },
})

// deletedFile is the finding about one file, by all descriptors of it.
func deletedFile(r *inspect.Rule, held []*fdscan.Descriptor) inspect.Finding {
	d := held[0]
	message := fmt.Sprintf("%s keeps the deleted file %s by fd %d: %s that no name leads to", who(d.Process), d.Link, d.FD, bytes(*d.Allocated))
	others := map[*fdscan.Process]bool{}
	for _, o := range held[1:] {
		if o.Process != d.Process {
			others[o.Process] = true
		}
	}
	switch len(others) {
	case 0:
	case 1:
		message += "; another process has it too"
	default:
		message += fmt.Sprintf("; %d other processes have it too", len(others))
	}
	f := inspect.NewProcessFinding(r, d.Process, d.FD, message, d.Link)
	f.TID, f.Inode = d.TID, d.Inode
	for _, o := range held {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%s has it as fd %d", who(o.Process), o.FD))
	}
	if *d.Allocated > muchSpace {
		f.Severity = inspect.Warning
	}
	return f
}

// bytes writes a size in decimal units.
func bytes(n int64) string {
	const k = 1000
	switch {
	case n < k*k:
		return fmt.Sprintf("%.1f kB", float64(n)/k)
	case n < k*k*k:
		return fmt.Sprintf("%.1f MB", float64(n)/(k*k))
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(k*k*k))
}
