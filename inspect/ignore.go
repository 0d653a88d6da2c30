package inspect

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"stray/fdscan"
)

// Ignore is an entry of an ignore file: findings that do not count, and why.
type Ignore struct {
	Rule *Rule
	// Match are conditions that a finding has to meet, all of them; without any,
	// no finding of the rule counts.
	Match  []Condition
	Reason string
	// Until is when the entry ceases to hold; zero for never.
	Until time.Time
	Line  int // in its file
}

// Condition is one that a finding meets or does not.
type Condition struct {
	Key, Value string
	meets      func(s subject) bool
}

// subject is what a finding is about, as far as it can be told.
type subject struct {
	process    *fdscan.Process    // nil for none
	socket     *Socket            // nil for none
	descriptor *fdscan.Descriptor // nil when it was not listed
	from       *fdscan.Process    // that the process has it from; nil when that is not known
}

// ConditionKey is one of the keys of a match.
type ConditionKey struct {
	Name  string
	Title string // what its value is, in a line
	// compile reads a value.
	compile func(value string) (func(s subject) bool, error)
}

// ConditionKeys returns the keys that a match may have.
func ConditionKeys() []ConditionKey {
	return []ConditionKey{
		{"program", "the program's name, or with a slash its path", compileProgram},
		{"from", "the program that it was opened by, or that passed it on, likewise", compileFrom},
		{"user", "the name or number of the user that the process runs as", ofProcess(func(p *fdscan.Process) []string {
			return []string{p.User, strconv.FormatUint(uint64(p.UID), 10)}
		})},
		{"unit", "the systemd unit of the process", ofProcess(func(p *fdscan.Process) []string { return []string{p.Unit} })},
		{"container", "the container of the process", ofProcess(func(p *fdscan.Process) []string { return []string{p.Container} })},
		{"port", "the local port of the socket, or a range: 8000-8010", compilePort},
		{"address", "the local address of the socket, or a network: 127.0.0.0/8", ofAddress(func(s *Socket) fdscan.Endpoint { return s.Local })},
		{"peer", "the address of its far end, or a network", ofAddress(func(s *Socket) fdscan.Endpoint { return s.Remote })},
		{"path", "the name of the unix socket, or the path of the file", compilePath},
		{"kind", "the kind of the descriptor, such as pipe, inet, or socket for any", compileKind},
	}
}

// NewCondition reads a value for a key of ConditionKeys.
func NewCondition(key, value string) (Condition, error) {
	for _, k := range ConditionKeys() {
		if k.Name == key {
			meets, err := k.compile(value)
			return Condition{key, value, meets}, err
		}
	}
	return Condition{}, fmt.Errorf("unknown key %q", key)
}

// glob compiles a pattern: * is anything but a slash, ** anything, and ? one
// character that is no slash. Everything else stands for itself.
func glob(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for rest := pattern; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**"):
			b.WriteString(`.*`)
			rest = rest[2:]
		case rest[0] == '*':
			b.WriteString(`[^/]*`)
			rest = rest[1:]
		case rest[0] == '?':
			b.WriteString(`[^/]`)
			rest = rest[1:]
		default:
			n := strings.IndexAny(rest, "*?")
			if n < 0 {
				n = len(rest)
			}
			b.WriteString(regexp.QuoteMeta(rest[:n]))
			rest = rest[n:]
		}
	}
	return regexp.MustCompile(b.String() + `\z`)
}

func ofProcess(names func(p *fdscan.Process) []string) func(string) (func(subject) bool, error) {
	return func(value string) (func(subject) bool, error) {
		pattern := glob(value)
		return func(s subject) bool {
			return s.process != nil && slices.ContainsFunc(names(s.process), pattern.MatchString)
		}, nil
	}
}

func compileProgram(value string) (func(subject) bool, error) {
	return ofProcess(programNames(value))(value)
}

func compileFrom(value string) (func(subject) bool, error) {
	meets, err := compileProgram(value)
	return func(s subject) bool { return meets(subject{process: s.from}) }, err
}

// programNames returns the names of a program that a pattern can mean.
func programNames(pattern string) func(p *fdscan.Process) []string {
	if strings.Contains(pattern, "/") {
		return func(p *fdscan.Process) []string { return []string{p.Exe} }
	}
	return func(p *fdscan.Process) []string { return []string{path.Base(p.Exe), p.Comm} }
}

func compilePort(value string) (func(subject) bool, error) {
	lowText, highText, isRange := strings.Cut(value, "-")
	if !isRange {
		highText = lowText
	}
	low, lowErr := strconv.ParseUint(lowText, 10, 16)
	high, highErr := strconv.ParseUint(highText, 10, 16)
	if lowErr != nil || highErr != nil || low > high || low == 0 {
		return nil, fmt.Errorf("port %q: a port is a number from 1 to 65535, or a range such as 8000-8010", value)
	}
	return func(s subject) bool {
		return s.socket != nil && uint64(s.socket.Local.Port) >= low && uint64(s.socket.Local.Port) <= high
	}, nil
}

func ofAddress(end func(*Socket) fdscan.Endpoint) func(string) (func(subject) bool, error) {
	return func(value string) (func(subject) bool, error) {
		network, err := netip.ParsePrefix(value)
		if address, addressErr := netip.ParseAddr(value); err != nil && addressErr == nil {
			network, err = address.Prefix(address.BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("address %q: an address is written as 127.0.0.1 or ::1, a network as 10.0.0.0/8", value)
		}
		return func(s subject) bool {
			return s.socket != nil && network.Masked().Contains(end(s.socket).Addr.Unmap())
		}, nil
	}
}

func compilePath(value string) (func(subject) bool, error) {
	pattern := glob(value)
	return func(s subject) bool {
		return s.socket != nil && s.socket.Protocol == fdscan.Unix && pattern.MatchString(s.socket.Local.Path) ||
			s.descriptor != nil && pattern.MatchString(s.descriptor.Link)
	}, nil
}

func compileKind(value string) (func(subject) bool, error) {
	kind := fdscan.FindKind(value)
	if kind == nil {
		return nil, fmt.Errorf("unknown kind %q", value)
	}
	return func(s subject) bool {
		switch {
		case s.socket != nil && s.socket.Protocol == fdscan.Unix:
			return fdscan.UnixSocket.Is(kind)
		case s.socket != nil:
			return fdscan.InetSocket.Is(kind)
		}
		return s.descriptor != nil && s.descriptor.Kind.Is(kind)
	}, nil
}

// subjects finds what findings are about.
type subjects struct {
	descriptors map[tableEntry]*fdscan.Descriptor
	sockets     map[uint64]*Socket // by inode
	from        map[tableEntry]*fdscan.Process
}

// tableEntry is an entry of a descriptor table.
type tableEntry struct {
	process *fdscan.Process
	tid, fd int
}

func newSubjects(v *View) subjects {
	s := subjects{map[tableEntry]*fdscan.Descriptor{}, map[uint64]*Socket{}, map[tableEntry]*fdscan.Process{}}
	add := func(d *fdscan.Descriptor, from *fdscan.Process) {
		e := tableEntry{d.Process, d.TID, d.FD}
		s.descriptors[e], s.from[e] = d, from
		if d.Socket != nil {
			s.sockets[d.Inode] = &Socket{Socket: d.Socket}
		}
	}
	if v.Run != nil {
		for _, c := range v.Run.Crossings {
			add(c.Descriptor, c.From)
		}
		for _, u := range v.Run.Unclosed {
			add(u.Descriptor, nil)
		}
		for _, left := range v.Run.Survivors {
			for _, d := range slices.Concat(left.Ports, left.Locked) {
				add(d, nil)
			}
		}
	}
	for _, d := range v.Descriptors {
		add(d, d.From)
	}
	for _, socket := range v.Sockets {
		s.sockets[socket.Inode] = socket
		for _, h := range socket.Holders {
			if h.Origin.From != nil {
				s.from[tableEntry{h.Process, h.TID, h.FD}] = h.Origin.From
			}
		}
	}
	return s
}

// of is what f is about.
func (s subjects) of(f Finding) (all []subject) {
	for _, d := range f.Descriptors {
		all = append(all, s.one(f.Process, d, d.Inode, s.from[tableEntry{f.Process, d.TID, d.FD}]))
	}
	for _, socket := range f.Sockets {
		all = append(all, subject{process: f.Process, socket: socket})
	}
	if len(all) == 0 {
		e := tableEntry{f.Process, f.TID, f.FD}
		all = append(all, s.one(f.Process, s.descriptors[e], f.Inode, s.from[e]))
	}
	return all
}

// one is a descriptor, which may be nil, or a socket. An inode is a socket's only
// where the descriptor is not known to be something else: file systems number
// their own.
func (s subjects) one(p *fdscan.Process, d *fdscan.Descriptor, inode uint64, from *fdscan.Process) subject {
	if inode == 0 || d != nil && !d.Kind.Is(fdscan.AnySocket) {
		return subject{p, nil, d, from}
	}
	return subject{p, s.sockets[inode], d, from}
}

// matches reports whether the entry is about f, and about all that f is about.
func (i *Ignore) matches(f Finding, about []subject) bool {
	return i.Rule == f.Rule && !slices.ContainsFunc(about, func(s subject) bool {
		return slices.ContainsFunc(i.Match, func(c Condition) bool { return !c.meets(s) })
	})
}

// Remark is something to be said of a line of a file.
type Remark struct {
	Line int
	Text string
}

// Ignore takes out of the findings those that an entry is about, and returns
// what is to be said of the entries: that they have expired, so that findings
// count again, or are of no use any more.
func (o *Outcome) Ignore(entries []*Ignore) (remarks []Remark) {
	if len(entries) == 0 {
		return nil
	}
	subjects := newSubjects(o.View)
	uses, again := map[*Ignore]int{}, map[*Ignore]int{}
	o.Findings = slices.DeleteFunc(o.Findings, func(f Finding) bool {
		s := subjects.of(f)
		ignored := false
		for _, e := range entries {
			switch {
			case !e.matches(f, s):
			case !e.Until.IsZero() && !o.TakenAt.Before(e.Until):
				again[e]++
			default:
				uses[e]++
				if !ignored {
					o.Suppressed = append(o.Suppressed, Suppressed{f, ByIgnore, e.Reason})
				}
				ignored = true
			}
		}
		return ignored
	})
	for _, e := range entries {
		expired := !e.Until.IsZero() && !o.TakenAt.Before(e.Until)
		last := e.Until.AddDate(0, 0, -1).Format(time.DateOnly)
		switch {
		case again[e] > 0:
			remarks = append(remarks, Remark{e.Line, fmt.Sprintf("the entry for %s held until %s: what it ignored counts again", e.Rule.ID, last)})
		case expired:
			remarks = append(remarks, Remark{e.Line, fmt.Sprintf("the entry for %s held until %s, and may go", e.Rule.ID, last)})
		case uses[e] == 0 && o.sawAll(e.Rule):
			remarks = append(remarks, Remark{e.Line, fmt.Sprintf("the entry for %s ignores nothing%s, and may go", e.Rule.ID, o.unasked(e.Rule))})
		}
	}
	slices.SortStableFunc(remarks, func(a, b Remark) int { return cmp.Compare(a.Line, b.Line) })
	return remarks
}
