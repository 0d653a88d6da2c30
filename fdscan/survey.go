package fdscan

import "context"

// SurveyQuestion is what Scanner.Survey answers.
type SurveyQuestion struct {
	// Deep also looks where every descriptor must be touched (Question.Deep).
	Deep bool
}

// Survey looks at the whole machine: every listener and bound socket of every
// network namespace with its holders, as Lookup would tell them. What could not
// be seen is in Snapshot.Gaps; the error is for what made any answer impossible:
// /proc missing, or ctx ended.
func (s *Scanner) Survey(ctx context.Context, q SurveyQuestion) (*Snapshot, error) {
	l := &lookup{
		Scanner: s, ctx: ctx, question: Question{Deep: q.Deep}, survey: &survey{},
		snap: &Snapshot{Processes: map[int]*Process{}, TablesComplete: true, HoldersComplete: true},
	}
	if err := l.host(); err != nil {
		return nil, err
	}
	found, _ := l.tables(ctx)
	for _, s := range found {
		l.add(s)
	}
	if err := l.holders(ctx); err != nil {
		return nil, err
	}
	if err := l.evidence(); err != nil {
		return nil, err
	}
	l.finish()
	return l.snap, nil
}

// survey is what a lookup knows besides when it looks at the whole machine.
type survey struct{}

// wants reports a socket that keeps a port or a name by itself.
func (v *survey) wants(s *Socket) bool { return s.State == Listen || s.State == Bound }
