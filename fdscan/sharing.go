package fdscan

import (
	"cmp"
	"slices"
)

// tablesShared finds processes that use one and the same descriptor table.
func (l *lookup) tablesShared() {
	if l.Detached {
		return
	}
	for _, s := range l.snap.Sockets {
		findSharers(s.Holders)
	}
	for _, o := range l.snap.Objects {
		findSharers(o.Holders)
	}
}

// findSharers notes which holders are one entry of one table.
func findSharers(holders []*Holder) {
	byNumber := map[int][]*Holder{}
	for _, h := range holders {
		if h.Via == ViaTable {
			byNumber[h.FD] = append(byNumber[h.FD], h)
		}
	}
	for _, same := range byNumber {
		eachSharing(same, func(h *Holder) int { return h.Process.PID }, func(h, other *Holder) {
			h.SharesTableWith = append(h.SharesTableWith, other.Process.PID)
		})
	}
}

// eachSharing calls f with each pair, in both orders, whose processes use one and
// the same table, by pid. kcmp(2) orders tables, so that equal ones come to stand
// side by side.
func eachSharing[T comparable](all []T, pid func(T) int, f func(a, b T)) {
	if len(all) < 2 {
		return
	}
	order := func(a, b T) int {
		n, _ := compareTables(pid(a), pid(b))
		return n
	}
	all = slices.DeleteFunc(all, func(a T) bool { _, err := compareTables(pid(a), pid(a)); return err != nil })
	slices.SortFunc(all, func(a, b T) int { return cmp.Or(order(a, b), cmp.Compare(pid(a), pid(b))) })
	for len(all) > 0 {
		n := 1
		for n < len(all) && order(all[0], all[n]) == 0 {
			n++
		}
		for _, a := range all[:n] {
			for _, b := range all[:n] {
				if pid(a) != pid(b) {
					f(a, b)
				}
			}
		}
		all = all[n:]
	}
}
