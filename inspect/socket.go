package inspect

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"stray/fdscan"
)

// Socket is a socket with the verdict on each holder.
type Socket struct {
	*fdscan.Socket
	// Holders hides fdscan's: the same, judged, and those that were asked for first.
	Holders []*Holder
	// Served is what is known of anybody waiting on it.
	Served Serving
	// Diagnoses say what is wrong with its health; see View.Examine.
	Diagnoses []Diagnosis
	// ephemeral reports a port of the range that the kernel chooses from.
	ephemeral bool
}

// Holder is a holder with how it came by what it holds.
type Holder struct {
	*fdscan.Holder
	Serving Serving
	Origin  Origin
}

// Serving says whether a process waits on a descriptor: in accept(2) or a
// receiving call on it, or in a poll or an epoll instance that watches it.
type Serving string

// What can be known of serving.
const (
	Serves   Serving = "yes"
	Idle     Serving = "no" // every thread waits for something that is no descriptor
	Unknown  Serving = "unknown"
	Elsewise Serving = "elsewhere" // it waits for descriptors, and this is not among them
)

// No reports that the process does not wait on the descriptor now.
func (s Serving) No() bool { return s == Idle || s == Elsewise }

// Address writes the local end as it would be written in a URL, or the name of
// a unix socket.
func (s *Socket) Address() string { return EndpointText(s.Protocol, s.Local) }

// Ends writes both ends of a connection: "127.0.0.1:80 → 127.0.0.1:51734".
func (s *Socket) Ends() string { return s.Address() + " → " + EndpointText(s.Protocol, s.Remote) }

// EndpointText writes one end of a socket.
func EndpointText(p fdscan.Protocol, e fdscan.Endpoint) string {
	switch {
	case p == fdscan.Unix && e.Path == "":
		return "(unnamed)"
	case p == fdscan.Unix:
		return e.Path
	case !e.Addr.IsValid():
		return "*:" + strconv.Itoa(int(e.Port))
	}
	return netip.AddrPortFrom(e.Addr, e.Port).String()
}

// stableAddress is the address, less what the kernel chose: a port of the
// ephemeral range, and the five hexadecimal digits of an abstract name that bind
// made up (unix(7), autobind), are others after a restart.
func (s *Socket) stableAddress() string {
	switch {
	case s.Protocol == fdscan.Unix && autobound(s.Local.Path):
		return "@*"
	case s.Protocol == fdscan.Unix:
		return lastingName(s.Local.Path)
	case s.ephemeral:
		return s.Local.Addr.String() + " *"
	}
	return s.Address()
}

func autobound(name string) bool {
	return len(name) == 6 && name[0] == '@' && strings.Trim(name[1:], "0123456789abcdef") == ""
}

// IsPort reports a socket that keeps a port or name by itself, listening or
// bound, rather than a connection.
func (s *Socket) IsPort() bool { return s.State == fdscan.Listen || s.State == fdscan.Bound }

// Noun is "listener" or "bound socket".
func (s *Socket) Noun() string {
	switch {
	case s.State == fdscan.Listen:
		return "listener"
	case s.State == fdscan.Bound:
		return "bound socket"
	case s.Remote.Port != 0:
		return "connection"
	}
	return "socket"
}

// Describe is the socket in a few words: "tcp 0.0.0.0:18080".
func (s *Socket) Describe() string { return fmt.Sprintf("%s %s", s.Protocol, s.Address()) }
