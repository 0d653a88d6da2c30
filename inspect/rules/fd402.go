package rules

import (
	"fmt"
	"slices"

	"stray/fdscan"
	"stray/inspect"
)

var _ = register(&inspect.Rule{
	ID:           "FD402",
	Name:         "reuseport-stranger",
	Severity:     inspect.Warning,
	SeverityNote: "note for datagrams, which every member of a multicast group gets",
	Title:        "a SO_REUSEPORT group with a member of another program",
	Text: `Sockets with SO_REUSEPORT can share an address: the kernel spreads what arrives
over all of them. When one belongs to another program, a part of the connections
goes there, and fails or is answered wrongly; which part, is chance. It happens
when an old server has not ended before the new one starts, when two services
were given one port, or when a helper listens by mistake.

It is recognised by sockets of one address, protocol and network namespace, each
with SO_REUSEPORT, of which one is held by nobody who runs the program of the
others. A program that was replaced on the disk by an upgrade is the same one.

For datagrams it is a note: programs that listen to a multicast group share its
port on purpose, and each gets everything.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "set SO_REUSEPORT only for workers of one program; without it the second bind fails, which tells."},
		{Language: "C++/Asio", Text: "acceptor.set_option of reuse_port only where several processes serve together; reuse_address is enough for a quick restart."},
		{Language: "Go", Text: "a ListenConfig.Control that sets SO_REUSEPORT belongs to workers only; net.Listen alone sets SO_REUSEADDR."},
		{Language: "Python", Text: "reuse_port=True of asyncio's create_server and of socket.create_server only for workers."},
		{Language: "Node", Text: "reusePort: true of server.listen() only for workers; cluster does without it."},
		{Language: "Rust", Text: "socket2's set_reuse_port(true) only for workers."},
		{Language: "Java", Text: "StandardSocketOptions.SO_REUSEPORT only for workers."},
		{Language: "Crystal", Text: "TCPServer.new(reuse_port: true) only for workers."},
	},
	Needs: inspect.SightSockets,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		type place struct {
			netns     uint64
			protocol  fdscan.Protocol
			address   string
			device    uint32
			listening bool
		}
		groups := map[place][]*inspect.Socket{}
		var places []place
		for _, s := range v.Sockets {
			if !s.IsPort() || s.Protocol == fdscan.Unix || s.ReusePort == nil || !*s.ReusePort || len(s.Holders) == 0 {
				continue
			}
			p := place{s.NetNS, s.Protocol, s.Address(), s.Interface, s.State == fdscan.Listen}
			if groups[p] == nil {
				places = append(places, p)
			}
			groups[p] = append(groups[p], s)
		}
		for _, p := range places {
			for _, s := range strangers(groups[p]) {
				h := s.Holders[0]
				other := groups[p][slices.IndexFunc(groups[p], func(o *inspect.Socket) bool { return !sharePrograms(o, s) })]
				f := inspect.NewFinding(r, s, h, fmt.Sprintf("%s shares %s %s by SO_REUSEPORT with another program, %s: a part of what arrives goes to each",
					who(h.Process), s.Protocol, s.Address(), who(other.Holders[0].Process)))
				f.FD = h.FD
				if !s.Protocol.Stream() {
					f.Severity = inspect.Note
				}
				f.Next = append([]string{"stray who " + target(s)}, f.Next...)
				findings = append(findings, f)
			}
		}
		return findings
	},
	Starved: unreadListener,
})

// strangers are the members of a group that have no program in common with most
// of it. Of two programs that are as frequent, the one that came last is meant.
func strangers(group []*inspect.Socket) (found []*inspect.Socket) {
	best, most := 0, 0
	for i, s := range group {
		n := 0
		for _, o := range group {
			if sharePrograms(s, o) {
				n++
			}
		}
		if n > most || n == most && earlier(s, group[best]) {
			best, most = i, n
		}
	}
	for _, s := range group {
		if !sharePrograms(s, group[best]) {
			found = append(found, s)
		}
	}
	return found
}

// earlier reports that the eldest holder of a is older than that of b.
func earlier(a, b *inspect.Socket) bool {
	eldest := func(s *inspect.Socket) *fdscan.Process {
		return slices.MinFunc(s.Holders, func(a, b *inspect.Holder) int { return fdscan.CompareAge(a.Process, b.Process) }).Process
	}
	return fdscan.CompareAge(eldest(a), eldest(b)) < 0
}

// sharePrograms reports that some holder of a runs the program of some holder of
// b. A program that cannot be read is nobody's stranger.
func sharePrograms(a, b *inspect.Socket) bool {
	return slices.ContainsFunc(a.Holders, func(x *inspect.Holder) bool {
		return slices.ContainsFunc(b.Holders, func(y *inspect.Holder) bool {
			return x.Process.Exe == y.Process.Exe || x.Process.Exe == "" || y.Process.Exe == ""
		})
	})
}
