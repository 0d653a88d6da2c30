package follow

// tally keeps one of each sort, and how many there were.
type tally[T any] struct {
	sorts map[string]*T
	order []*T
}

// mostSorts bounds what a run can make a tally keep. What comes after is counted
// by a sort that tells less.
const mostSorts = 1000

func newTally[T any]() tally[T] { return tally[T]{sorts: map[string]*T{}} }

// of returns what is kept of a sort; nil of a new one. When there are too many,
// the coarse sort stands for it.
func (t *tally[T]) of(sort, coarse string) (kept *T, key string) {
	if kept := t.sorts[sort]; kept != nil || len(t.order) < mostSorts {
		return kept, sort
	}
	return t.sorts[coarse], coarse
}

// keep keeps the first of a sort.
func (t *tally[T]) keep(key string, first *T) {
	t.sorts[key] = first
	t.order = append(t.order, first)
}
