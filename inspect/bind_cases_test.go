package inspect_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/inspect"
)

// bindWay is the option that the new socket sets, 0 for none.
type bindWay int

var bindWays = []bindWay{0, unix.SO_REUSEADDR, unix.SO_REUSEPORT}

func (w bindWay) String() string {
	return map[bindWay]string{0: "plain", unix.SO_REUSEADDR: "SO_REUSEADDR", unix.SO_REUSEPORT: "SO_REUSEPORT"}[w]
}

// of is the verdict's answer for the way.
func (w bindWay) of(v inspect.BindVerdict) inspect.Bindable {
	return map[bindWay]inspect.Bindable{0: v.Plain, unix.SO_REUSEADDR: v.ReuseAddr, unix.SO_REUSEPORT: v.ReusePort}[w]
}

// bindCases gathers what the kernel said, by what a snapshot shows. Scenes that
// look alike in a snapshot are one case: CanBind has to say yes where the
// kernel always did, no where it never did, and unknown where it did both.
type bindCases struct {
	// pairs reports that the scenes are any two sockets: not every pair can
	// stand side by side, and the scenes hold a part only of the history on
	// which SO_REUSEPORT depends, so that there unknown is always allowed.
	pairs        bool
	combinations int
	cases        map[bindQuestion]*bindCase
	order        []bindQuestion
	verdicts     map[bindQuestion]inspect.BindVerdict
}

// bindQuestion asks whether a socket can be bound beside others that look so.
type bindQuestion struct {
	proto fdscan.Protocol
	addr  netip.Addr
	way   bindWay
	look  string
}

type bindCase struct {
	verdict   inspect.BindVerdict
	forgotten string
	exact     bool // unknown is wrong unless the kernel said both
	yes, no   []string
}

// bindForgotten are the sets of facts that a snapshot may lack: a and p stand
// for the two options, u for the user, c and b for the IPV6_V6ONLY of
// connections, which sock_diag does not report, and of others.
var bindForgotten = []string{"", "a", "p", "ap", "u", "c", "apuc", "b"}

// run asks the kernel about every target and way beside the scene.
func (c *bindCases) run(n *bindNet, scene bindScene, targets []netip.Addr) {
	var w *bindWorld
	defer func() {
		if w != nil {
			w.close()
		}
	}()
	for _, addr := range targets {
		for _, way := range bindWays {
			if w == nil {
				w = n.build(scene)
			}
			if w == nil && c.pairs {
				return
			}
			if w == nil {
				n.t.Fatalf("%s: the kernel refuses", scene.name)
			}
			works, bound := n.try(scene.proto, addr, w.port, way)
			c.note(scene, w, addr, way, works)
			if bound {
				// That leaves its mark in the port's bucket: start afresh.
				w.close()
				w = nil
			}
		}
	}
}

// try binds a new socket and, for TCP, lets it listen. It reports whether both
// went well, and whether bind(2) alone did.
func (n *bindNet) try(proto fdscan.Protocol, addr netip.Addr, port uint16, way bindWay) (works, bound bool) {
	fd, err := bindSocket(proto, addr)
	if err != nil {
		n.t.Fatalf("socket: %v", err)
	}
	defer unix.Close(fd)
	if way != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, int(way), 1); err != nil {
			n.t.Fatalf("%v: %v", way, err)
		}
	}
	err = unix.Bind(fd, bindSockaddr(addr, port))
	bound = err == nil
	if bound && proto.Stream() {
		err = unix.Listen(fd, 16)
	}
	if err != nil && err != unix.EADDRINUSE {
		n.t.Fatalf("bind %s %v port %d: %v", proto, addr, port, err)
	}
	return err == nil, bound
}

// note keeps one answer of the kernel.
func (c *bindCases) note(scene bindScene, w *bindWorld, addr netip.Addr, way bindWay, works bool) {
	c.combinations++
	for _, forgotten := range bindForgotten {
		if forgotten == "b" && len(w.sockets) > 1 {
			continue // one would have to tell from the other
		}
		look := w.look(forgotten)
		key := bindQuestion{scene.proto, addr, way, look}
		k := c.cases[key]
		if k == nil {
			k = &bindCase{forgotten: forgotten, exact: forgotten == "" || len(w.sockets) == 1}
			if c.pairs && way == unix.SO_REUSEPORT {
				k.exact = false
			}
			k.verdict = c.verdict(w, forgotten, bindQuestion{scene.proto, addr, 0, look})
			if c.cases == nil {
				c.cases = map[bindQuestion]*bindCase{}
			}
			c.cases[key] = k
			c.order = append(c.order, key)
		}
		if works {
			k.yes = append(k.yes, scene.name)
		} else {
			k.no = append(k.no, scene.name)
		}
	}
}

// verdict is what CanBind says of the address beside the scene, for all ways.
func (c *bindCases) verdict(w *bindWorld, forgotten string, q bindQuestion) inspect.BindVerdict {
	if v, ok := c.verdicts[q]; ok {
		return v
	}
	if c.verdicts == nil {
		c.verdicts = map[bindQuestion]inspect.BindVerdict{}
	}
	for _, v := range inspect.CanBind(bindSnapshot(bindForget(w.sockets, forgotten)...), q.proto, w.port, q.addr) {
		c.verdicts[bindQuestion{q.proto, v.Address, 0, q.look}] = v
	}
	return c.verdicts[q]
}

// check holds CanBind to the kernel.
func (c *bindCases) check(t *testing.T) {
	t.Helper()
	const shown = 10
	counts := map[inspect.Bindable]int{}
	failures, whole, both, vague := 0, 0, 0, 0
	for _, key := range c.order {
		k := c.cases[key]
		answer := key.way.of(k.verdict)
		counts[answer]++
		want := inspect.BindUnknown
		switch {
		case len(k.no) == 0:
			want = inspect.BindYes
		case len(k.yes) == 0:
			want = inspect.BindNo
		}
		if k.forgotten == "" {
			whole++
			if want == inspect.BindUnknown {
				both++
			}
		}
		switch {
		case answer == want:
		case answer == inspect.BindUnknown && !k.exact:
			vague++
		default:
			if failures++; failures <= shown {
				t.Errorf("%s %s %v, beside%s\n\tthe kernel said yes %d times %q, no %d times %q\n\tCanBind says %s: %s",
					key.proto, key.way, key.addr, key.look, len(k.yes), k.yes[:min(1, len(k.yes))], len(k.no), k.no[:min(1, len(k.no))], answer, k.verdict.Because)
			}
		}
	}
	if failures > shown {
		t.Errorf("%d cases failed in all", failures)
	}
	t.Logf("%d combinations make %d cases, %d of them with every fact known (in %d of these the kernel says both); CanBind: %d yes, %d no, %d unknown (%d where the kernel always said one)",
		c.combinations, len(c.cases), whole, both, counts[inspect.BindYes], counts[inspect.BindNo], counts[inspect.BindUnknown], vague)
}

// bindSnapshot is a complete snapshot of the sockets, taken by root.
func bindSnapshot(sockets ...*fdscan.Socket) *fdscan.Snapshot {
	return &fdscan.Snapshot{
		Host:            fdscan.Host{Bind: fdscan.BindConditions{UnprivilegedPortStart: 1024, NetBindService: true, IPv6: true}},
		Sockets:         sockets,
		TablesComplete:  true,
		HoldersComplete: true,
	}
}

// bindForget returns copies of the sockets without the facts.
func bindForget(sockets []*fdscan.Socket, facts string) []*fdscan.Socket {
	all := make([]*fdscan.Socket, 0, len(sockets))
	for _, original := range sockets {
		s := *original
		connected := s.Remote != fdscan.Endpoint{}
		if strings.Contains(facts, "a") {
			s.ReuseAddr = nil
		}
		if strings.Contains(facts, "p") {
			s.ReusePort = nil
		}
		if strings.Contains(facts, "u") {
			s.UID = nil
		}
		if connected && strings.Contains(facts, "c") || !connected && strings.Contains(facts, "b") {
			s.V6Only = nil
		}
		all = append(all, &s)
	}
	return all
}

// look tells what a snapshot without the facts shows of the scene.
func (w *bindWorld) look(forgotten string) string {
	if w.looks == nil {
		w.looks = map[string]string{}
	}
	look, ok := w.looks[forgotten]
	if !ok {
		look = bindLook(bindForget(w.sockets, forgotten))
		w.looks[forgotten] = look
	}
	return look
}

// bindLook tells what the sockets look like, whatever their order.
func bindLook(sockets []*fdscan.Socket) string {
	lines := make([]string, 0, len(sockets))
	for _, s := range sockets {
		uid, stand := "?", ""
		if s.UID != nil {
			uid = fmt.Sprint(*s.UID)
		}
		if s.Timer != nil {
			stand = s.Timer.Kind
		}
		lines = append(lines, fmt.Sprintf("\n\t%s %s %v v6only=%s reuseaddr=%s reuseport=%s uid=%s interface=%d held=%t %s",
			s.Protocol, s.State, s.Local.Addr, bindText(s.V6Only), bindText(s.ReuseAddr), bindText(s.ReusePort), uid, s.Interface, s.Inode != 0, stand))
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

func bindText(b *bool) string {
	if b == nil {
		return "?"
	}
	return fmt.Sprint(*b)
}
