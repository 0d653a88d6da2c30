package fdscan_test

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"stray/fdscan"
	"stray/internal/proctest"
)

func TestTryBindSaysWhatBindSays(t *testing.T) {
	p := proctest.Start(t, `
		listen tcp4 127.0.0.1:0 name=listener
		bind udp4 127.0.0.1:0 name=datagram reuseport=1`)
	at := func(name, address string) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(address), uint16(p.Socket(name).Port()))
	}
	for _, tt := range []struct {
		name       string
		protocol   fdscan.Protocol
		address    netip.AddrPort
		port, addr bool
		want       error
	}{
		{"beside a listener", fdscan.TCP, at("listener", "127.0.0.1"), false, false, unix.EADDRINUSE},
		{"over a listener", fdscan.TCP, at("listener", "0.0.0.0"), false, true, unix.EADDRINUSE},
		{"both families", fdscan.TCP, at("listener", "::"), false, false, unix.EADDRINUSE},
		{"another address", fdscan.TCP, at("listener", "127.0.0.2"), false, false, nil},
		{"a group", fdscan.UDP, at("datagram", "127.0.0.1"), true, false, nil},
		{"not in the group", fdscan.UDP, at("datagram", "127.0.0.1"), false, false, unix.EADDRINUSE},
		{"an address of nobody here", fdscan.TCP, at("listener", "198.51.100.1"), false, false, unix.EADDRNOTAVAIL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := fdscan.TryBind(tt.protocol, tt.address, tt.addr, tt.port); !errors.Is(err, tt.want) {
				t.Errorf("TryBind(%s, %s): %v, want %v", tt.protocol, tt.address, err, tt.want)
			}
		})
	}
}
