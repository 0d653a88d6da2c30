package fdscan

import (
	"cmp"
	"errors"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxCompared bounds how many descriptors that look alike are compared: beyond
// it the calls would take seconds.
const maxCompared = 20_000

// sharedDescriptions numbers open file descriptions. Only descriptors that lead
// to one file can share one, and these agree in all that belongs to it; among
// them kcmp(2) decides, which orders open file descriptions.
func (l *lister) sharedDescriptions() {
	type looks struct {
		kind          *Kind
		device, inode uint64
		flags         uint32
		count         string // of an eventfd or the like
	}
	alike := map[looks][]*Descriptor{}
	for _, d := range l.snap.Descriptors {
		if d.Flags == nil {
			continue
		}
		k := looks{kind: d.Kind, device: d.Device, inode: d.Inode, flags: *d.Flags, count: d.detail("eventfd-id")}
		alike[k] = append(alike[k], d)
	}
	var groups [][]*Descriptor
	for _, group := range alike {
		switch {
		case len(group) == 1:
			groups = append(groups, group)
		case l.Detached:
		case len(group) > maxCompared:
			l.gap(Gap{Op: "kcmp", FD: -1, Err: "more than " + strconv.Itoa(maxCompared) + " descriptors look alike: which of them share an open file description is not told", Scope: ScopeDetail})
		default:
			groups = append(groups, l.sameFiles(group)...)
		}
	}
	first := func(group []*Descriptor) *Descriptor { return slices.MinFunc(group, compareDescriptors) }
	slices.SortFunc(groups, func(a, b []*Descriptor) int { return compareDescriptors(first(a), first(b)) })
	for i, group := range groups {
		for _, d := range group {
			d.Description = uint64(i + 1)
		}
	}
}

// compareDescriptors orders by process, thread and number.
func compareDescriptors(a, b *Descriptor) int {
	return cmp.Or(cmp.Compare(a.Process.PID, b.Process.PID), cmp.Compare(a.TID, b.TID), cmp.Compare(a.FD, b.FD))
}

// sameFiles splits descriptors into those of one open file description each. What
// is closed meanwhile is in none of them; when a comparison fails otherwise nothing
// is known of the group.
func (l *lister) sameFiles(group []*Descriptor) [][]*Descriptor {
	for {
		groups, err := splitFiles(group)
		if err == nil {
			return groups
		}
		rest := slices.DeleteFunc(slices.Clone(group), func(d *Descriptor) bool {
			_, err := compareFiles(d, d)
			return closed(err)
		})
		if !closed(err) || len(rest) == len(group) {
			l.gap(detailGap("kcmp", group[0].Process.PID, err))
			return nil
		}
		group = rest
	}
}

// closed reports that err is that of a descriptor, or process, that is not there
// any more.
func closed(err error) bool { return gone(err) || errors.Is(err, unix.EBADF) }

// splitFiles sorts descriptors by their open file description, and returns those
// of each; err is that of the first comparison that failed.
func splitFiles(descriptors []*Descriptor) (groups [][]*Descriptor, err error) {
	order := func(a, b *Descriptor) (n int) {
		if err == nil {
			n, err = compareFiles(a, b)
		}
		return n
	}
	slices.SortFunc(descriptors, order)
	for rest := descriptors; len(rest) > 0 && err == nil; {
		n := 1
		for n < len(rest) && order(rest[0], rest[n]) == 0 {
			n++
		}
		groups, rest = append(groups, rest[:n:n]), rest[n:]
	}
	return groups, err
}

// compareFiles orders the open file descriptions of two descriptors: 0 when they
// are one.
func compareFiles(a, b *Descriptor) (order int, err error) {
	task := func(d *Descriptor) int { return cmp.Or(d.TID, d.Process.PID) }
	return compareOpenFiles(task(a), a.FD, task(b), b.FD)
}
