package inspect

import (
	"net/netip"

	"stray/fdscan"
)

// SettleBinds replaces what is unknown of the bind verdicts by what a real
// attempt says. A refusal settles it; that a bind succeeds does so too, since a
// listener that another listen(2) would meet is never unknown.
func (a *Answer) SettleBinds(try func(p fdscan.Protocol, address netip.AddrPort, reuseAddr, reusePort bool) error) {
	for i := range a.Binds {
		b := &a.Binds[i]
		for _, way := range []struct {
			answer               *Bindable
			reuseAddr, reusePort bool
			name                 string
		}{{&b.Plain, false, false, ""}, {&b.ReuseAddr, true, false, " with SO_REUSEADDR"}, {&b.ReusePort, false, true, " with SO_REUSEPORT"}} {
			if *way.answer != BindUnknown {
				continue
			}
			if err := try(b.Protocol, netip.AddrPortFrom(b.Address, b.Port), way.reuseAddr, way.reusePort); err != nil {
				*way.answer = BindNo
				b.Because += "; tried" + way.name + ": " + err.Error()
			} else {
				*way.answer = BindYes
				b.Because += "; tried" + way.name + ": it was bound, and closed again"
			}
		}
	}
}
