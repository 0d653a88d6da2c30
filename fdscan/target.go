package fdscan

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Target is one thing that a user asks about.
type Target struct {
	Text string // as it was written
	Kind TargetKind
	// Protocols are the ones asked for; empty for every protocol with ports.
	Protocols []Protocol
	// Addr limits a port target to sockets that this local address reaches;
	// the zero Addr asks for every address.
	Addr netip.Addr
	// PortLow and PortHigh are equal for a single port.
	PortLow, PortHigh uint16
	Inode             uint64
	// Path is a file, or the name of a unix socket ('@' for abstract ones).
	Path string
}

// TargetKind is what a Target names.
type TargetKind int

// The kinds of targets.
const (
	PortTarget TargetKind = iota
	UnixTarget
	InodeTarget
	FileTarget
)

// TargetForms lists what ParseTarget accepts, for people.
const TargetForms = "18080, :18080, tcp:18080, 18080/tcp, udp:53, 127.0.0.1:18080, [::1]:18080, 8000-8010, unix:/run/x.sock, unix:@name, inode:41877, /path/to/file"

// TargetError says why a word is no target.
type TargetError struct {
	Text   string
	Reason string
	// Instead is a corrected word, empty when none can be guessed.
	Instead string
}

func (e *TargetError) Error() string {
	colon := ":"
	if verb, _, _ := strings.Cut(e.Reason, " "); verb == "is" || verb == "lacks" || verb == "names" {
		colon = "" // the reason goes on with the sentence
	}
	return fmt.Sprintf("target %q%s %s", e.Text, colon, e.Reason)
}

// localhost is the one name that people write for an address.
const localhost = "localhost"

// protocolNames are the words that may stand before or behind a port.
var protocolNames = map[string][]Protocol{
	"tcp": {TCP, MPTCP}, "udp": {UDP}, "udplite": {UDPLite}, "mptcp": {MPTCP},
}

// ParseTarget reads one target in any of the forms of TargetForms. The error
// is a *TargetError.
func ParseTarget(text string) (Target, error) {
	t := Target{Text: text}
	fail := func(reason, instead string) (Target, error) {
		if instead == text {
			instead = "" // nothing was corrected
		} else if _, err := ParseTarget(instead); err != nil {
			instead = "" // it has another fault
		}
		return Target{}, &TargetError{Text: text, Reason: reason, Instead: instead}
	}
	switch {
	case text == "":
		return Target{}, &TargetError{Reason: "is empty"}
	case strings.HasPrefix(text, "unix:"):
		t.Kind, t.Path = UnixTarget, text[len("unix:"):]
		if t.Path == "" || t.Path == "@" {
			return fail("names no socket", "")
		}
		return t, nil
	case strings.HasPrefix(text, "inode:"):
		n, err := strconv.ParseUint(text[len("inode:"):], 10, 64)
		if err != nil || n == 0 {
			return fail("an inode is a number above 0", "")
		}
		t.Kind, t.Inode = InodeTarget, n
		return t, nil
	case text[0] == '/' || strings.HasPrefix(text, "./") || strings.HasPrefix(text, "../"):
		t.Kind, t.Path = FileTarget, text
		return t, nil
	case text[0] == '@':
		return fail("looks like an abstract unix socket", "unix:"+text)
	}
	rest := text
	if name, port, ok := strings.Cut(rest, ":"); ok && isWord(name) && name != localhost && !isAddress(rest) {
		if t.Protocols = protocolNames[strings.ToLower(name)]; t.Protocols == nil {
			return fail(fmt.Sprintf("%q is neither a protocol (tcp, udp, udplite, mptcp) nor an IP address, and names are not looked up", name), "")
		}
		rest = port
	}
	if port, name, ok := strings.Cut(rest, "/"); ok {
		if t.Protocols != nil {
			return fail("names a protocol twice", "")
		}
		if t.Protocols = protocolNames[strings.ToLower(name)]; t.Protocols == nil {
			return fail(fmt.Sprintf("%q is no protocol: tcp, udp, udplite and mptcp have ports", name), "")
		}
		rest = port
	}
	if isAddress(rest) {
		if instead := bracketed(rest); instead != "" {
			return fail("an IPv6 address stands in brackets", strings.Replace(text, rest, instead, 1))
		}
		host := rest
		if strings.Contains(rest, ":") && !strings.HasPrefix(rest, "[") {
			host = "[" + rest + "]"
		}
		return fail("is an address without a port", strings.Replace(text, rest, host+":18080", 1))
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		host := rest[:i]
		rest = rest[i+1:]
		switch addr, err := parseHost(host); {
		case host == "" || host == "*":
		case err != nil:
			return fail(err.Error(), strings.Replace(text, localhost, "127.0.0.1", 1))
		default:
			t.Addr = addr
		}
	}
	low, high, isRange := strings.Cut(rest, "-")
	if isRange && (low == "" || high == "") {
		return fail("the range lacks an end", "")
	}
	var reason string
	if t.PortLow, reason = parsePort(low); reason != "" {
		return fail(reason, "")
	}
	t.PortHigh = t.PortLow
	if isRange {
		if t.PortHigh, reason = parsePort(high); reason != "" {
			return fail(reason, "")
		}
		if t.PortHigh < t.PortLow {
			return fail("the range runs backwards", strings.Replace(text, rest, high+"-"+low, 1))
		}
	}
	return t, nil
}

// parsePort reads a port number; the reason is empty when it is one.
func parsePort(s string) (port uint16, reason string) {
	if s == "" {
		return 0, "lacks a port number"
	}
	n, err := strconv.ParseUint(s, 10, 64)
	switch {
	case err != nil && isDigits(s), err == nil && n > 65535:
		return 0, fmt.Sprintf("port %s is out of range: ports are 1 to 65535", s)
	case err != nil && isWord(s):
		return 0, fmt.Sprintf("%q is no port number, and names of services are not looked up", s)
	case err != nil:
		return 0, fmt.Sprintf("%q is no port number", s)
	case n == 0:
		return 0, "port 0 is never held: binding to it picks a free port (ports are 1 to 65535)"
	}
	return uint16(n), ""
}

// isAddress reports an IP address without a port, in brackets or not.
func isAddress(s string) bool {
	if bare, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(bare, "]"); !ok {
			return false
		}
	}
	_, err := netip.ParseAddr(s)
	return err == nil
}

// bracketed turns "::1:80", an address for those who read strictly, into what
// was meant, "[::1]:80"; "" when nothing like that was.
func bracketed(s string) string {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || !isAddress(s[:i]) {
		return ""
	}
	if _, reason := parsePort(s[i+1:]); reason != "" {
		return ""
	}
	return "[" + s[:i] + "]" + s[i:]
}

// parseHost reads an address, in brackets when it is IPv6.
func parseHost(s string) (netip.Addr, error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is no IP address, and names are not looked up", bare)
	}
	if addr.Is6() != (bare != s) {
		return netip.Addr{}, fmt.Errorf("%q: an IPv6 address stands in brackets, another one does not", s)
	}
	return addr.WithZone("").Unmap(), nil
}

// isWord reports letters, as of a protocol or a service.
func isWord(s string) bool {
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != ""
}

func isDigits(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// asks reports whether t asks for p.
func (t Target) asks(p Protocol) bool {
	if t.Protocols == nil {
		return true
	}
	for _, q := range t.Protocols {
		if p == q {
			return true
		}
	}
	return false
}

// concerns reports whether s has a port of t's in t's space of ports, at any
// address: whatever may stand in the way of a bind. TCP and MPTCP share theirs.
func (t Target) concerns(s *Socket) bool {
	return t.Kind == PortTarget && s.Local.Port >= t.PortLow && s.Local.Port <= t.PortHigh &&
		(t.asks(s.Protocol) || s.Protocol.Stream() && (t.asks(TCP) || t.asks(MPTCP)))
}

// Matches reports whether s is a socket that t, a port target, asks for: one
// of its protocols, with a port of its range, at an address that reaches t's.
func (t Target) Matches(s *Socket) bool {
	if t.Kind != PortTarget || !t.asks(s.Protocol) || s.Local.Port < t.PortLow || s.Local.Port > t.PortHigh {
		return false
	}
	local := s.Local.Addr.Unmap()
	switch {
	case !t.Addr.IsValid(), t.Addr.IsUnspecified() && (t.Addr.Is6() || local.Is4()), local == t.Addr:
		return true
	case !local.IsUnspecified():
		return false
	case local.Is4():
		return t.Addr.Is4()
	}
	// The IPv6 wildcard takes IPv4 too, unless it is told not to.
	return t.Addr.Is6() || s.V6Only == nil || !*s.V6Only
}

// MatchesEnd reports whether t names s by either of its ends: the own, or that
// of the peer.
func (t Target) MatchesEnd(s *Socket) bool {
	return t.Matches(s) || t.matchesName(s) || t.MatchesPeer(s)
}

// MatchesPeer reports whether t, a port target, is the address that s is
// connected to.
func (t Target) MatchesPeer(s *Socket) bool {
	return t.Kind == PortTarget && t.asks(s.Protocol) && s.Remote.Port != 0 && s.Remote.Port >= t.PortLow && s.Remote.Port <= t.PortHigh &&
		(!t.Addr.IsValid() || s.Remote.Addr.Unmap() == t.Addr)
}

// matchesName reports whether t names s by its path or inode.
func (t Target) matchesName(s *Socket) bool {
	switch t.Kind {
	case UnixTarget, FileTarget:
		return s.Protocol == Unix && s.Local.Path == t.Path
	case InodeTarget:
		return s.Inode != 0 && s.Inode == t.Inode
	case PortTarget:
	}
	return false
}
