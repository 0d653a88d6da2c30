// Package rules holds what stray checks, one rule in each file. A rule is a
// value; it does no I/O.
package rules

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"stray/fdscan"
	"stray/inspect"
)

var registry []*inspect.Rule

func register(r *inspect.Rule) *inspect.Rule {
	registry = append(registry, r)
	return r
}

// All returns every rule, by id.
func All() []*inspect.Rule {
	all := slices.Clone(registry)
	slices.SortFunc(all, func(a, b *inspect.Rule) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// Find returns the rule with an id or name, in any case; nil when there is none.
func Find(word string) *inspect.Rule {
	for _, r := range registry {
		if strings.EqualFold(r.ID, word) || strings.EqualFold(r.Name, word) {
			return r
		}
	}
	return nil
}

// eachPortHolder calls f with the first descriptor of each process that holds
// a listener or a bound socket.
func eachPortHolder(v *inspect.View, f func(s *inspect.Socket, h *inspect.Holder)) {
	for _, s := range v.Sockets {
		if !s.IsPort() {
			continue
		}
		seen := map[int]bool{}
		for _, h := range s.Holders {
			if !seen[h.Process.PID] {
				seen[h.Process.PID] = true
				f(s, h)
			}
		}
	}
}

// who names a process: "pid 4502 (sleep)".
func who(p *fdscan.Process) string { return fmt.Sprintf("pid %d (%s)", p.PID, p.Comm) }

// anyDescriptor is for descriptors.
func anyDescriptor(*inspect.Holder) bool { return true }

// descriptors lists the numbers by which p holds s, of those that count: "fd 5",
// "fd 5 and 9".
func descriptors(s *inspect.Socket, p *fdscan.Process, counts func(*inspect.Holder) bool) string {
	var numbers []string
	for _, h := range s.Holders {
		if h.Process == p && (h.Via == fdscan.ViaTable || h.Via == fdscan.ViaThread) && counts(h) {
			numbers = append(numbers, fmt.Sprint(h.FD))
		}
	}
	if len(numbers) == 0 {
		return "no descriptor of its own"
	}
	return "fd " + strings.Join(numbers, " and ")
}

// plainPath are names that a shell takes as they are: a command is there to be
// copied, and whoever binds a socket chooses its name.
var plainPath = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[@/A-Za-z0-9._][A-Za-z0-9@/._+:-]*$`) })

// target is the word by which the commands of stray name s, and nothing else:
// a port means those of the caller's namespace.
func target(s *inspect.Socket) string {
	switch {
	case !s.NetNSMine || s.Protocol == fdscan.Unix && !plainPath().MatchString(s.Local.Path):
		return fmt.Sprintf("inode:%d", s.Inode)
	case s.Protocol == fdscan.Unix:
		return "unix:" + s.Local.Path
	case s.Protocol.Stream():
		return fmt.Sprint(s.Local.Port)
	}
	return fmt.Sprintf("%s:%d", s.Protocol, s.Local.Port)
}

// unreadListener says why there may be holders of a listener that nothing is
// known of. Where everybody was looked at, each who could not be read may be one;
// where one listener was asked about, it is one that nobody seems to hold.
func unreadListener(v *inspect.View) string {
	if v.Sight&inspect.SightTables != 0 {
		return inspect.UnreadHolders(v.Snapshot)
	}
	for _, s := range v.Sockets {
		if s.NetNSMine && s.IsPort() && s.Inode != 0 && len(s.Holders) == 0 && !s.KernelOwned {
			return fmt.Sprintf("no holder of %s could be read", s.Describe())
		}
	}
	return ""
}
