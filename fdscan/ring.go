package fdscan

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// rings adds the files registered with io_uring instances. sees is false when
// there are files that could not be identified.
func (l *lookup) rings(refs []Ref, want Want) (sees bool) {
	sees = true
	for _, r := range refs {
		if l.ctx.Err() != nil {
			return false
		}
		if l.withRing == nil {
			l.withRing = map[int]bool{}
		}
		l.withRing[r.PID] = true
		missing := func(err, needs string, scope Scope) {
			sees = false
			l.gap(Gap{Op: "read fdinfo of io_uring", PID: r.PID, TID: r.TID, FD: r.FD, Err: err, Needs: needs, Scope: scope})
		}
		found, err := l.readRing(r)
		if err != nil {
			if !gone(err) {
				missing(reason(err), processGap("", r.PID, err).Needs, ScopeHolders)
			}
			continue
		}
		p := l.process(r.PID)
		for slot, link := range found.files {
			if p != nil {
				l.holdLink(link, &Holder{Process: p, TID: r.TID, FD: r.FD, Slot: slot, Via: ViaRing})
			}
			if inode, ok := linkInode(link, "socket:["); ok && want.AllSockets && len(l.sockets[inode]) == 0 && !l.listsBound() {
				// It may be bound only, and a slot cannot be asked.
				missing(fmt.Sprintf("socket:[%d] in slot %d cannot be asked whether it is bound", inode, slot), "Linux 6.8", ScopeTables)
			}
		}
		if l.hasUnowned() {
			switch {
			case found.unnamed > 0:
				missing(fmt.Sprintf("%d registered files are not named by this kernel", found.unnamed), "", ScopeHolders)
			case found.pending:
				missing("a request on its way may keep a file that is in no table", "", ScopeHolders)
			}
		}
	}
	return sees
}

// ring is what fdinfo tells of an io_uring instance.
type ring struct {
	files   map[int]string // the link texts of registered sockets and pipes, by slot
	unnamed int            // registered files of which only a name like "TCP" is shown
	pending bool           // requests are on their way
}

// An instance that is locked is read again so many times, with such pauses.
const (
	ringTries = 20
	ringPause = time.Millisecond
)

// readRing reads fdinfo of an io_uring instance. The kernel leaves the files out
// while somebody holds the ring's lock, so that a few tries may be needed.
func (l *lookup) readRing(r Ref) (ring, error) {
	for try := 1; ; try++ {
		text, err := readFile(l.descriptorPath("fdinfo", r.PID, r.TID, r.FD))
		if err != nil {
			return ring{}, err
		}
		found, whole := parseRing(text)
		switch {
		case whole:
			return found, nil
		case try == ringTries:
			return ring{}, fmt.Errorf("it was locked each of %d times", ringTries)
		}
		time.Sleep(ringPause)
	}
}

// parseRing reads the lines "    0: socket:[41877]" below "UserFiles:\t1", and
// whether requests are listed below "PollList:". whole is false when the files
// were left out.
func parseRing(text []byte) (r ring, whole bool) {
	r.files = map[int]string{}
	count, lines := -1, 0
	for _, d := range parseFDInfo(text).Details {
		switch section, key, below := strings.Cut(d.Name, " "); section {
		case "UserFiles":
			if !below {
				count, _ = strconv.Atoi(d.Value)
				continue
			}
			lines++
			slot, err := strconv.Atoi(key)
			switch link := d.Value; {
			case err != nil || link == "<none>":
			case strings.HasPrefix(link, "socket:[") || strings.HasPrefix(link, "pipe:["):
				r.files[slot] = link
			case !strings.ContainsAny(link, "[/"):
				r.unnamed++
			}
		case "PollList":
			r.pending = r.pending || d.Value != ""
		}
	}
	// Empty slots have no line in some kernels, so that the number of lines
	// need not be that of the slots.
	return r, count == 0 || count > 0 && lines > 0
}
