package rules

import (
	"fmt"
	"slices"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:       "FD401",
	Name:     "hidden-holder",
	Severity: inspect.Note,
	Title:    "a port that is held where no descriptor table of a process shows it",
	Text: `A port is in use, and lsof, ss and fuser name nobody. It is held by something
that is no entry in the table of a process: a file registered with an io_uring
instance, whose own descriptor may be closed; a descriptor in an SCM_RIGHTS
message that nobody has received; the table of a thread that has left its
process's by unshare(CLONE_FILES), or whose leader has exited.

None of that is a fault. It is told since whoever looks for the holder of the
port finds nobody by other means.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "io_uring_unregister_files or an update of the slot to -1 lets go of a registered file; closing the descriptor does not. Receive messages with files, or close the unix socket that they wait in."},
		{Language: "Rust", Text: "tokio-uring and the like keep registered files until they are unregistered or the ring is dropped."},
	},
	Needs: inspect.SightSockets,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		for _, s := range v.Sockets {
			shown := func(h *inspect.Holder) bool {
				return h.Via != fdscan.ViaRing && h.Via != fdscan.ViaMessage && h.Via != fdscan.ViaThread
			}
			if !s.IsPort() || len(s.Holders) == 0 || slices.ContainsFunc(s.Holders, shown) {
				continue
			}
			h := s.Holders[0]
			findings = append(findings, inspect.NewFinding(r, s, h, fmt.Sprintf("%s holds the %s %s only %s", who(h.Process), s.Noun(), s.Address(), hidingPlace(h))))
		}
		return findings
	},
	Starved: unreadListener,
})

// hidingPlace says where a holder is that no table of a process shows.
func hidingPlace(h *inspect.Holder) string {
	switch h.Via {
	case fdscan.ViaRing:
		return fmt.Sprintf("in slot %d of the io_uring instance fd %d", h.Slot, h.FD)
	case fdscan.ViaMessage:
		return h.Note
	case fdscan.ViaTable, fdscan.ViaThread, fdscan.ViaMemory:
	}
	return fmt.Sprintf("in the table of its thread %d, fd %d", h.TID, h.FD)
}
