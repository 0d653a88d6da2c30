package fdscan

import (
	"context"
	"maps"
)

// readTables is a Walker that remembers.
type readTables struct {
	Walker // for what is not in the tables
	tables []Filled
	gaps   []Gap // of the walk that read them
}

// Walk implements Walker.
func (r *readTables) Walk(ctx context.Context, w Want, found func(Ref), gap func(Gap)) error {
	if w.AllSockets || len(w.Pipes)+len(w.Files)+len(w.Links)+len(w.PIDs) > 0 {
		return r.Walker.Walk(ctx, w, found, gap)
	}
	missing := maps.Clone(w.Sockets)
	for _, t := range r.tables {
		for _, e := range t.Entries {
			switch {
			case e.has(entrySocket) && w.Sockets[e.ID]:
				delete(missing, e.ID)
				found(t.ref(e, RefSocket))
			case e.has(entryRing) && w.Rings:
				found(t.ref(e, RefRing))
			}
		}
	}
	if len(missing) == 0 {
		for _, g := range r.gaps {
			gap(g)
		}
		return ctx.Err()
	}
	// It is younger than the tables, or in a hiding place.
	w.Sockets, w.Rings = missing, false
	return r.Walker.Walk(ctx, w, found, gap)
}
