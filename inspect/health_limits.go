package inspect

import (
	"fmt"
	"time"
)

// Limits are the ages and numbers from which on the state of a connection is
// called a fault. Limits{} is no use: see DefaultLimits.
type Limits struct {
	Silence    time.Duration
	Idle       time.Duration
	Stalled    time.Duration
	CloseWait  time.Duration
	HalfClosed time.Duration
	Long       time.Duration
	Waiting    time.Duration
	Pile       int
}

// Limit documents one of Limits: flags and pages derive from it.
type Limit struct {
	// Name is that of the flag.
	Name string
	// Means completes "from this time on …"; Reason says why it is what it is.
	Means, Reason string
	// Age is the field in Limits; nil for Pile, which is a number.
	Age func(*Limits) *time.Duration
}

// LimitTable documents all limits, in the order of the rules.
func LimitTable() []Limit {
	return []Limit{
		{
			"close-wait", "a connection that the peer has closed counts as forgotten (FD301)",
			"60 s is tcp_fin_timeout: after that the peer's kernel has dropped what was left of it, and nothing can be sent there any more. A connection on which data was sent since is being answered, and does not count",
			func(l *Limits) *time.Duration { return &l.CloseWait },
		},
		{
			"silence", "data without an acknowledgement counts as unanswered (FD302)",
			"15 s is six retransmissions at the least timeout, and more than the worst healthy paths take (a few seconds over a satellite or through a full buffer)",
			func(l *Limits) *time.Duration { return &l.Silence },
		},
		{
			"idle", "an idle connection without keepalive is mentioned (FD302, a note)",
			"2 h is tcp_keepalive_time: when keepalive would first have asked whether the peer is there",
			func(l *Limits) *time.Duration { return &l.Idle },
		},
		{
			"stalled", "data that the peer's window does not let through counts as stalled (FD303)",
			"30 s without a single segment of data is no slow reader: one that reads at all lets something through each time",
			func(l *Limits) *time.Duration { return &l.Stalled },
		},
		{
			"waiting", "a connection in the accept queue counts as not accepted (FD304)",
			"5 s is long for a call that takes microseconds, and most clients have given up after it",
			func(l *Limits) *time.Duration { return &l.Waiting },
		},
		{
			"half-closed", "a connection shut down for writing is mentioned (FD305, a note)",
			"60 s is tcp_fin_timeout, after which the kernel would drop one that no process holds",
			func(l *Limits) *time.Duration { return &l.HalfClosed },
		},
		{
			"long", "a connection shut down for writing is a fault (FD305)",
			"10 min is more than a peer takes to send its last answer; a process that holds such a descriptor has no timer that ends it",
			func(l *Limits) *time.Duration { return &l.Long },
		},
		{
			"pile", "connections in CLOSE_WAIT of one process are an error (FD301)",
			"one is a slip on some path; ten mean that the path is taken again and again, and ends at the limit of open files",
			nil,
		},
	}
}

// DefaultLimits are those of LimitTable.
func DefaultLimits() Limits {
	return Limits{
		Silence: 15 * time.Second, Idle: 2 * time.Hour, Stalled: 30 * time.Second, CloseWait: time.Minute,
		HalfClosed: time.Minute, Long: 10 * time.Minute, Waiting: 5 * time.Second, Pile: 10,
	}
}

// Changed are the flags that set l, where it is not as usual.
func (l Limits) Changed() (flags []string) {
	usual := DefaultLimits()
	for _, limit := range LimitTable() {
		switch {
		case limit.Age != nil && *limit.Age(&l) != *limit.Age(&usual):
			flags = append(flags, fmt.Sprintf("--%s %s", limit.Name, *limit.Age(&l)))
		case limit.Age == nil && l.Pile != usual.Pile:
			flags = append(flags, fmt.Sprintf("--%s %d", limit.Name, l.Pile))
		}
	}
	return flags
}
