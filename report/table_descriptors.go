package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"stray/fdscan"
)

// descriptors writes the tables of processes, one after the other, and what
// could not be seen.
func (p *page) descriptors(listed []*fdscan.Descriptor) error {
	same := map[uint64][]*fdscan.Descriptor{}
	for _, d := range listed {
		if d.Description != 0 {
			same[d.Description] = append(same[d.Description], d)
		}
	}
	for _, t := range p.outcome.Tables {
		n := 0
		for n < len(listed) && listed[n].Process.PID == t.Process.PID && listed[n].TID == t.TID {
			n++
		}
		if n == 0 && (t.Open > 0 || len(p.outcome.Asked.PIDs) == 0) {
			continue // none of the kinds that were asked for, or a kernel thread
		}
		if p.blocks > 0 {
			p.line("")
		}
		p.blocks++
		p.tableHead(t, n)
		if err := p.table(listed[:n], same); err != nil {
			return err
		}
		listed = listed[n:]
	}
	if p.blocks == 0 && p.outcome.Complete {
		p.line("no such descriptor")
	}
	p.gaps()
	return nil
}

// tableHead says whose table it is, and how it is filled; shown is how many of
// its descriptors follow.
func (p *page) tableHead(t *fdscan.Table, shown int) {
	name := fmt.Sprintf("pid %d (%s)", t.Process.PID, Printable(t.Process.Comm))
	facts := []string{Printable(t.Process.User)}
	if t.TID != 0 {
		facts = append(facts, fmt.Sprintf("the own table of thread %d", t.TID))
	}
	open := fmt.Sprintf("%d %s", t.Open, plural(t.Open, "descriptor"))
	switch t.Limit {
	case 0:
	case math.MaxUint64:
		open += ", no limit"
	default:
		open += fmt.Sprintf(" of %d", t.Limit)
	}
	if shown != t.Open {
		open += fmt.Sprintf(", %d of them shown", shown)
	}
	facts = append(facts, open)
	for _, pid := range t.SharedWith {
		facts = append(facts, fmt.Sprintf("one table with pid %d", pid))
	}
	if len(t.Process.Cmdline) > 0 {
		facts = append(facts, strings.TrimSpace(p.command(t.Process)))
	}
	p.head(name, Printable(strings.Join(facts, "  ")))
}

// table writes a row for each descriptor.
func (p *page) table(descriptors []*fdscan.Descriptor, same map[uint64][]*fdscan.Descriptor) error {
	if len(descriptors) == 0 {
		return nil
	}
	g := &grid{indent: "  ", header: []string{"FD", "KIND", "MODE", "CLOEXEC", "FLAGS", "POS", "LOCKS", "TARGET"}}
	if p.wide {
		g.header = []string{"FD", "KIND", "MODE", "CLOEXEC", "FLAGS", "POS", "SIZE", "ALLOCATED", "INODE", "DEVICE", "MOUNT", "LOCKS", "SAME AS", "TARGET", "DETAILS"}
	}
	for rest, n := descriptors, 0; len(rest) > 0; rest = rest[n:] {
		n = unreadable(rest)
		d, cloexec, fd := rest[0], "", strconv.Itoa(rest[0].FD)
		if d.CloseOnExec != nil {
			cloexec = yesNo(*d.CloseOnExec)
		}
		if n > 1 {
			fd += "-" + strconv.Itoa(rest[n-1].FD)
		}
		cells := []string{fd, d.Kind.Name, accessText(d), cloexec, strings.Join(statusFlags(d), "|"), posText(d)}
		if p.wide {
			cells = append(cells, bytesText(d.Size), bytesText(d.Allocated), number(d.Inode), deviceText(d.Device), number(uint64(d.MountID)), lockTexts(d), sameText(d, same), targetText(d, n), detailTexts(d))
		} else {
			cells = append(cells, lockTexts(d), targetText(d, n))
		}
		g.rows = append(g.rows, gridRow{cells: clean(cells), note: Printable(peerTexts(d, p.wide))})
	}
	g.dropEmpty()
	const leastTarget = 40
	g.give(p.style, []string{"LOCKS", "FLAGS", "POS", "MODE"}, "LOCKS", squeeze{column: "TARGET", least: leastTarget})
	g.join("TARGET", p.style)
	return g.write(p, p.style)
}

// unreadable is how many of the first descriptors may not be looked at, for one
// reason: they are written in one row. It is 1 when the first may be.
func unreadable(descriptors []*fdscan.Descriptor) int {
	n := 1
	for n < len(descriptors) && descriptors[0].Err != "" && descriptors[n].Err == descriptors[0].Err {
		n++
	}
	return n
}

// accessText is what the descriptor may be used for: "r", "w", "rw", or "path"
// for one that only stands for a place in the file system.
func accessText(d *fdscan.Descriptor) string {
	names := d.FlagNames()
	switch {
	case slices.Contains(names, "O_PATH"):
		return "path"
	case slices.Contains(names, "O_RDWR"):
		return "rw"
	case slices.Contains(names, "O_WRONLY"):
		return "w"
	case slices.Contains(names, "O_RDONLY"):
		return "r"
	}
	return ""
}

// statusFlags are the flags that the mode does not tell.
func statusFlags(d *fdscan.Descriptor) []string {
	return slices.DeleteFunc(d.FlagNames(), func(name string) bool {
		return name == "O_RDONLY" || name == "O_WRONLY" || name == "O_RDWR" || name == "O_PATH"
	})
}

// posText is empty where a position means nothing, which is 0 there.
func posText(d *fdscan.Descriptor) string {
	if d.Pos == nil || *d.Pos == 0 && d.Size == nil {
		return ""
	}
	return strconv.FormatInt(*d.Pos, 10)
}

func bytesText(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}

// deviceText is a device number as ls(1) writes it.
func deviceText(device uint64) string {
	if device == 0 {
		return ""
	}
	return fmt.Sprintf("%d:%d", device>>8&0xfff|device>>32&0xfffff000, device&0xff|device>>12&0xffffff00)
}

// lockTexts are the locks, such as "POSIX WRITE 5-14".
func lockTexts(d *fdscan.Descriptor) string {
	var texts []string
	for _, l := range d.Locks {
		text := l.Type + " " + l.Access
		switch {
		case l.End >= 0:
			text += fmt.Sprintf(" %d-%d", l.Start, l.End)
		case l.Start > 0:
			text += fmt.Sprintf(" %d-", l.Start)
		}
		if l.PID != 0 && l.PID != d.Process.PID {
			text += fmt.Sprintf(" taken by pid %d", l.PID)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// targetText is what the descriptor, or so many alike, refer to. Where the words
// tell more than the link of a socket or of an anonymous file, the link is left
// out.
func targetText(d *fdscan.Descriptor, alike int) string {
	link := d.Link
	switch {
	case alike > 1:
		return fmt.Sprintf("%d descriptors cannot be read: %s", alike, d.Err)
	case d.Err != "":
		return "cannot be read: " + d.Err
	case d.Target != "" && !strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "pipe:[") && d.Kind != fdscan.Namespace:
		return d.Target
	case d.Deleted:
		link += " (deleted)"
	}
	if d.Target != "" {
		link += " (" + d.Target + ")"
	}
	return link
}

// mostPeers is how many other ends are written before the rest is counted.
const mostPeers = 3

// peerTexts are the other ends: "→ pid 812 (nginx) fd 5".
func peerTexts(d *fdscan.Descriptor, all bool) string {
	var texts []string
	for i, peer := range d.Peers {
		if i == mostPeers && !all && len(d.Peers) > mostPeers+1 {
			break
		}
		who := fmt.Sprintf("pid %d (%s)", peer.Process.PID, peer.Process.Comm)
		if peer.TID != 0 {
			who = fmt.Sprintf("thread %d of %s", peer.TID, who)
		}
		if peer.Process == d.Process && peer.TID == d.TID {
			who = "its own"
		}
		texts = append(texts, fmt.Sprintf("%s fd %d", who, peer.FD))
	}
	if len(texts) == 0 {
		return ""
	}
	if more := len(d.Peers) + d.MorePeers - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("%d more", more))
	}
	return "→ " + strings.Join(texts, ", ")
}

// mostSame is how many of them are written.
const mostSame = 32

// sameText names the other descriptors of this page that refer to the same open
// file description: there may be thousands, each of which has all the others.
func sameText(d *fdscan.Descriptor, same map[uint64][]*fdscan.Descriptor) string {
	var texts []string
	for _, other := range same[d.Description] {
		switch {
		case other == d:
		case len(texts) == mostSame:
			return strings.Join(texts, ", ") + fmt.Sprintf(", %d more", len(same[d.Description])-1-mostSame)
		case other.Process == d.Process && other.TID == d.TID:
			texts = append(texts, fmt.Sprintf("fd %d", other.FD))
		default:
			texts = append(texts, fmt.Sprintf("pid %d fd %d", other.Process.PID, other.FD))
		}
	}
	return strings.Join(texts, ", ")
}

// detailTexts are the details, "name=value".
func detailTexts(d *fdscan.Descriptor) string {
	var texts []string
	for _, f := range d.Details {
		texts = append(texts, f.Name+"="+strings.Join(strings.Fields(f.Value), " "))
	}
	return strings.Join(texts, " ")
}
