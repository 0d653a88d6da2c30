package fdscan

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var compareAddresses = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func TestParseTarget(t *testing.T) {
	tcp, udp := []Protocol{TCP, MPTCP}, []Protocol{UDP}
	port := func(low, high uint16, address string, protocols []Protocol) Target {
		target := Target{Kind: PortTarget, PortLow: low, PortHigh: high, Protocols: protocols}
		if address != "" {
			target.Addr = netip.MustParseAddr(address)
		}
		return target
	}
	for text, want := range map[string]Target{
		"18080":                     port(18080, 18080, "", nil),
		"1":                         port(1, 1, "", nil),
		"65535":                     port(65535, 65535, "", nil),
		"00080":                     port(80, 80, "", nil),
		":18080":                    port(18080, 18080, "", nil),
		"*:18080":                   port(18080, 18080, "", nil),
		"tcp:18080":                 port(18080, 18080, "", tcp),
		"TCP:18080":                 port(18080, 18080, "", tcp),
		"tcp::18080":                port(18080, 18080, "", tcp),
		"18080/tcp":                 port(18080, 18080, "", tcp),
		":18080/tcp":                port(18080, 18080, "", tcp),
		"53/UDP":                    port(53, 53, "", udp),
		"udp:53":                    port(53, 53, "", udp),
		"udplite:53":                port(53, 53, "", []Protocol{UDPLite}),
		"mptcp:80":                  port(80, 80, "", []Protocol{MPTCP}),
		"127.0.0.1:18080":           port(18080, 18080, "127.0.0.1", nil),
		"0.0.0.0:18080":             port(18080, 18080, "0.0.0.0", nil),
		"[::1]:18080":               port(18080, 18080, "::1", nil),
		"[::]:18080":                port(18080, 18080, "::", nil),
		"[fe80::1%eth0]:80":         port(80, 80, "fe80::1", nil),
		"[::ffff:127.0.0.1]:80":     port(80, 80, "127.0.0.1", nil),
		"tcp:127.0.0.1:80":          port(80, 80, "127.0.0.1", tcp),
		"udp:[::1]:53":              port(53, 53, "::1", udp),
		"127.0.0.1:80/tcp":          port(80, 80, "127.0.0.1", tcp),
		"8000-8010":                 port(8000, 8010, "", nil),
		"1-65535":                   port(1, 65535, "", nil),
		"80-80":                     port(80, 80, "", nil),
		"tcp:8000-8010":             port(8000, 8010, "", tcp),
		"8000-8010/udp":             port(8000, 8010, "", udp),
		"127.0.0.1:8000-8010":       port(8000, 8010, "127.0.0.1", nil),
		"unix:/run/x.sock":          {Kind: UnixTarget, Path: "/run/x.sock"},
		"unix:x.sock":               {Kind: UnixTarget, Path: "x.sock"},
		"unix:@abstract":            {Kind: UnixTarget, Path: "@abstract"},
		"unix:@/tmp/.X11-unix/X0":   {Kind: UnixTarget, Path: "@/tmp/.X11-unix/X0"},
		"unix:/run/with space:80":   {Kind: UnixTarget, Path: "/run/with space:80"},
		"inode:41877":               {Kind: InodeTarget, Inode: 41877},
		"inode:1":                   {Kind: InodeTarget, Inode: 1},
		"/path/to/file":             {Kind: FileTarget, Path: "/path/to/file"},
		"./file":                    {Kind: FileTarget, Path: "./file"},
		"../file":                   {Kind: FileTarget, Path: "../file"},
		"/path/with:80 and\nspaces": {Kind: FileTarget, Path: "/path/with:80 and\nspaces"},
	} {
		want.Text = text
		got, err := ParseTarget(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got, compareAddresses); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// Every form that people are told to use is accepted.
func TestTargetFormsAreTargets(t *testing.T) {
	for form := range strings.SplitSeq(TargetForms, ", ") {
		if _, err := ParseTarget(form); err != nil {
			t.Error(err)
		}
	}
}

// The reason tells the fault, and the correction is what was meant.
func TestParseTargetRejects(t *testing.T) {
	for text, want := range map[string]TargetError{
		"":                     {Reason: "is empty"},
		"0":                    {Reason: "port 0 is never held: binding to it picks a free port (ports are 1 to 65535)"},
		"tcp:0":                {Reason: "port 0 is never held: binding to it picks a free port (ports are 1 to 65535)"},
		"70000":                {Reason: "port 70000 is out of range: ports are 1 to 65535"},
		"65536":                {Reason: "port 65536 is out of range: ports are 1 to 65535"},
		"99999999999999999999": {Reason: "port 99999999999999999999 is out of range: ports are 1 to 65535"},
		"-80":                  {Reason: "the range lacks an end"},
		"80-":                  {Reason: "the range lacks an end"},
		"8010-8000":            {Reason: "the range runs backwards", Instead: "8000-8010"},
		"udp:8010-8000":        {Reason: "the range runs backwards", Instead: "udp:8000-8010"},
		"8000-70000":           {Reason: "port 70000 is out of range: ports are 1 to 65535"},
		"0-80":                 {Reason: "port 0 is never held: binding to it picks a free port (ports are 1 to 65535)"},
		"80-90-100":            {Reason: `"90-100" is no port number`},
		"http":                 {Reason: `"http" is no port number, and names of services are not looked up`},
		"tcp:http":             {Reason: `"http" is no port number, and names of services are not looked up`},
		"8o8o":                 {Reason: `"8o8o" is no port number`},
		"+80":                  {Reason: `"+80" is no port number`},
		"0x50":                 {Reason: `"0x50" is no port number`},
		" 80":                  {Reason: `" 80" is no port number`},
		"80 81":                {Reason: `"80 81" is no port number`},
		"80,81":                {Reason: `"80,81" is no port number`},
		":":                    {Reason: "lacks a port number"},
		"tcp:":                 {Reason: "lacks a port number"},
		"127.0.0.1:":           {Reason: "lacks a port number"},
		"/tcp":                 {}, // a file
		"80/":                  {Reason: `"" is no protocol: tcp, udp, udplite and mptcp have ports`},
		"80/sctp":              {Reason: `"sctp" is no protocol: tcp, udp, udplite and mptcp have ports`},
		"tcp:80/udp":           {Reason: "names a protocol twice"},
		"web:80":               {Reason: `"web" is neither a protocol (tcp, udp, udplite, mptcp) nor an IP address, and names are not looked up`},
		"example.org:80":       {Reason: `"example.org" is no IP address, and names are not looked up`},
		"localhost:80":         {Reason: `"localhost" is no IP address, and names are not looked up`, Instead: "127.0.0.1:80"},
		"tcp:localhost:80":     {Reason: `"localhost" is no IP address, and names are not looked up`, Instead: "tcp:127.0.0.1:80"},
		"localhost:0":          {Reason: `"localhost" is no IP address, and names are not looked up`},
		"127.0.0.1":            {Reason: "is an address without a port", Instead: "127.0.0.1:18080"},
		"[::1]":                {Reason: "is an address without a port", Instead: "[::1]:18080"},
		"::1":                  {Reason: "is an address without a port", Instead: "[::1]:18080"},
		"abcd::":               {Reason: "is an address without a port", Instead: "[abcd::]:18080"},
		"::1:80":               {Reason: "an IPv6 address stands in brackets", Instead: "[::1]:80"},
		"tcp:::1:80":           {Reason: "an IPv6 address stands in brackets", Instead: "tcp:[::1]:80"},
		"[127.0.0.1]:80":       {Reason: `"[127.0.0.1]": an IPv6 address stands in brackets, another one does not`},
		"[::1:80":              {Reason: `"[::1" is no IP address, and names are not looked up`},
		"[]:80":                {Reason: `"" is no IP address, and names are not looked up`},
		"256.0.0.1:80":         {Reason: `"256.0.0.1" is no IP address, and names are not looked up`},
		"unix:":                {Reason: "names no socket"},
		"unix:@":               {Reason: "names no socket"},
		"@name":                {Reason: "looks like an abstract unix socket", Instead: "unix:@name"},
		"@":                    {Reason: "looks like an abstract unix socket"},
		"inode:":               {Reason: "an inode is a number above 0"},
		"inode:0":              {Reason: "an inode is a number above 0"},
		"inode:-1":             {Reason: "an inode is a number above 0"},
		"inode:0x10":           {Reason: "an inode is a number above 0"},
		"file.txt":             {Reason: `"file.txt" is no port number`},
		"18080\x1b[31m":        {Reason: `"18080\x1b[31m" is no port number`},
	} {
		if want.Reason == "" {
			continue
		}
		want.Text = text
		_, err := ParseTarget(text)
		var got *TargetError
		if !errors.As(err, &got) {
			t.Errorf("%q: error %v, want a TargetError", text, err)
			continue
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// A target with an address asks for the sockets that the address reaches.
func TestTargetMatches(t *testing.T) {
	yes, no := true, false
	v4 := &Socket{Protocol: TCP, Family: Inet, Local: Endpoint{Addr: netip.MustParseAddr("127.0.0.1"), Port: 80}}
	any4 := &Socket{Protocol: TCP, Family: Inet, Local: Endpoint{Addr: netip.IPv4Unspecified(), Port: 80}}
	v6 := &Socket{Protocol: TCP, Family: Inet6, Local: Endpoint{Addr: netip.IPv6Loopback(), Port: 80}, V6Only: &yes}
	dual := &Socket{Protocol: TCP, Family: Inet6, Local: Endpoint{Addr: netip.IPv6Unspecified(), Port: 80}, V6Only: &no}
	only6 := &Socket{Protocol: TCP, Family: Inet6, Local: Endpoint{Addr: netip.IPv6Unspecified(), Port: 80}, V6Only: &yes}
	mapped := &Socket{Protocol: TCP, Family: Inet6, Local: Endpoint{Addr: netip.MustParseAddr("::ffff:127.0.0.1"), Port: 80}}
	datagram := &Socket{Protocol: UDP, Family: Inet, Local: Endpoint{Addr: netip.IPv4Unspecified(), Port: 80}}
	multipath := &Socket{Protocol: MPTCP, Family: Inet, Local: Endpoint{Addr: netip.IPv4Unspecified(), Port: 80}}
	all := map[string]*Socket{"v4": v4, "any4": any4, "v6": v6, "dual": dual, "only6": only6, "mapped": mapped, "datagram": datagram, "multipath": multipath}
	for text, want := range map[string]string{
		"80":             "any4 datagram dual mapped multipath only6 v4 v6",
		"79-81":          "any4 datagram dual mapped multipath only6 v4 v6",
		"81-90":          "",
		"tcp:80":         "any4 dual mapped multipath only6 v4 v6",
		"udp:80":         "datagram",
		"mptcp:80":       "multipath",
		"127.0.0.1:80":   "any4 datagram dual mapped multipath v4",
		"10.1.2.3:80":    "any4 datagram dual multipath",
		"[::1]:80":       "dual only6 v6",
		"0.0.0.0:80":     "any4 datagram dual mapped multipath v4",
		"[::]:80":        "any4 datagram dual mapped multipath only6 v4 v6",
		"tcp:[::1]:80":   "dual only6 v6",
		"unix:/run/sock": "",
	} {
		target, err := ParseTarget(text)
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for name, s := range all {
			if target.Matches(s) {
				got = append(got, name)
			}
		}
		if diff := cmp.Diff(strings.Fields(want), got, cmpopts.SortSlices(strings.Compare), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
