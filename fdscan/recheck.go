package fdscan

import (
	"slices"

	"golang.org/x/sys/unix"
)

// recheck reads the links of the found descriptors again, now that their
// processes are known, and drops what a pid or a number no longer means.
func (l *lookup) recheck() {
	if l.Detached {
		return
	}
	type suspect struct {
		holder *Holder
		inode  uint64 // of a socket; 0 for a file, which is not compared
		stays  bool
	}
	var suspects []suspect
	for _, s := range l.snap.Sockets {
		for _, h := range s.Holders {
			suspects = append(suspects, suspect{holder: h, inode: s.Inode})
		}
	}
	for _, o := range l.snap.Objects {
		for _, h := range o.Holders {
			suspects = append(suspects, suspect{holder: h})
		}
	}
	processes := map[*Process]bool{}
	for _, s := range suspects {
		processes[s.holder.Process] = true
	}
	ended := make(map[*Process]bool)
	for p := range processes {
		if l.startTicks(p.PID) != p.StartTicks {
			ended[p] = true
			delete(l.snap.Processes, p.PID) // another may have the number now
		}
	}
	// In a survey fdinfo tells soon, and for less.
	links := l.survey == nil || !KernelAtLeast(l.snap.Host.Kernel, 5, 14)
	sideBySide(len(suspects), func(i int) {
		s := &suspects[i]
		h := s.holder
		s.stays = !ended[h.Process]
		if s.stays && links && s.inode != 0 && (h.Via == ViaTable || h.Via == ViaThread) {
			s.stays = l.leadsTo(h, s.inode)
		}
	})
	// In the same order as above.
	drop := func(of any, holders []*Holder) []*Holder {
		return slices.DeleteFunc(holders, func(h *Holder) bool {
			stays := suspects[0].stays
			suspects = suspects[1:]
			if !stays {
				delete(l.held, keyOf(of, h))
			}
			return !stays
		})
	}
	for _, s := range l.snap.Sockets {
		s.Holders = drop(s, s.Holders)
	}
	for _, o := range l.snap.Objects {
		o.Holders = drop(o, o.Holders)
	}
}

// leadsTo reports that the descriptor of h is of the socket with this inode now.
func (l *lookup) leadsTo(h *Holder, inode uint64) bool {
	var link [64]byte
	n, err := unix.Readlink(l.descriptorPath("fd", h.Process.PID, h.TID, h.FD), link[:])
	return err == nil && hasPrefix(link[:n], "socket:[") && inodeOf(link[len("socket:["):n]) == inode
}

// recheckDead drops the dead sockets that have been closed meanwhile: a program
// that has just learnt of an end takes a moment.
func (l *lookup) recheckDead() {
	l.snap.Sockets = slices.DeleteFunc(l.snap.Sockets, func(s *Socket) bool {
		if s.State != Close || !s.Dead() {
			return false
		}
		s.Holders = slices.DeleteFunc(s.Holders, func(h *Holder) bool { return !l.leadsTo(h, s.Inode) })
		return len(s.Holders) == 0
	})
}
