package fdscan

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// procNet reads the tables of a namespace that may not be entered, as text, of
// a process in it. They lack bound-only sockets, cookies, cgroups and the
// limits of backlogs; what they have, every user may read.
func (l *lookup) procNet(ns namespace) (sockets []*Socket) {
	if gone(unix.Access(l.path(strconv.Itoa(ns.pid), "net"), unix.F_OK)) {
		return nil // the process has ended
	}
	l.gap(Gap{
		Op: "enter network namespace", PID: ns.pid, FD: -1, Err: "read from /proc/PID/net instead, which lacks bound-only sockets",
		Needs: "CAP_SYS_ADMIN", Scope: ScopeElsewhere,
	})
	read := func(table string, line func(string) error) {
		heading := true
		err := eachLine(l.path(strconv.Itoa(ns.pid), "net", table), func(text []byte) error {
			if heading {
				heading = false
				return nil
			}
			return line(string(text))
		})
		if err != nil && !gone(err) { // without IPv6 there is no tcp6
			l.gap(Gap{Op: "read /proc/PID/net/" + table, PID: ns.pid, FD: -1, Err: reason(err), Scope: ScopeElsewhere})
		}
	}
	_, _, all := l.portRange()
	for _, t := range inetTables {
		if t.protocol == MPTCP || !all && !l.asksProtocol(t.protocol) {
			continue // MPTCP sockets show as the TCP ones beneath
		}
		read(t.name(), func(line string) error {
			s, err := parseProcNet(t, line)
			switch {
			case err != nil:
			case l.wantsInet(s):
				s.NetNS = ns.inode
				sockets = append(sockets, s)
			default:
				l.survey.list(listed{inode: s.Inode, netns: ns.inode, port: s.Local.Port, stream: s.Protocol.Stream(), kind: kindListed(s.State)})
			}
			return err
		})
	}
	if l.wantsUnix() {
		read("unix", func(line string) error {
			s, err := parseProcNetUnix(line)
			switch {
			case err != nil:
			case l.wantsUnixName(s):
				s.NetNS = ns.inode
				sockets = append(sockets, s)
			default:
				l.survey.list(listed{inode: s.Inode, netns: ns.inode})
			}
			return err
		})
	}
	return sockets
}

// parseProcNet reads a line of /proc/net/tcp and its like (proc_pid_net(5)):
// "sl local remote state tx:rx timer:when retransmits uid timeout inode …".
func parseProcNet(t table, line string) (*Socket, error) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return nil, fmt.Errorf("parse socket: %d fields in %q", len(f), line)
	}
	local, err1 := parseHexAddress(f[1])
	remote, err2 := parseHexAddress(f[2])
	state, err3 := strconv.ParseUint(f[3], 16, 8)
	uid, err4 := strconv.ParseUint(f[7], 10, 32)
	inode, err5 := strconv.ParseUint(f[9], 10, 64)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return nil, fmt.Errorf("parse socket %q: %w", line, err)
		}
	}
	s := &Socket{Protocol: t.protocol, Family: Inet, State: inetStates[uint8(state)], Inode: inode, Local: Endpoint{Addr: local.Addr(), Port: local.Port()}}
	if t.family == unix.AF_INET6 {
		s.Family = Inet6
	}
	if remote.Port() != 0 {
		s.Remote = Endpoint{Addr: remote.Addr(), Port: remote.Port()}
	}
	s.setUID(uint32(uid))
	return s, nil
}

// parseHexAddress reads "0100007F:1F90": words of 32 bits in the machine's
// order, and the port as a number.
func parseHexAddress(s string) (netip.AddrPort, error) {
	address, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for word := b; len(word) >= 4; word = word[4:] {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(b)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil || !ok {
		return netip.AddrPort{}, fmt.Errorf("parse address %q", s)
	}
	return netip.AddrPortFrom(addr, uint16(n)), nil
}

// parseProcNetUnix reads a line of /proc/net/unix: "num: references protocol
// flags type state inode path".
func parseProcNetUnix(line string) (*Socket, error) {
	f := strings.Fields(line)
	if len(f) < 7 {
		return nil, fmt.Errorf("parse unix socket: %d fields in %q", len(f), line)
	}
	flags, err1 := strconv.ParseUint(f[3], 16, 32)
	kind, err2 := strconv.ParseUint(f[4], 16, 8)
	inode, err3 := strconv.ParseUint(f[6], 10, 64)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return nil, fmt.Errorf("parse unix socket %q: %w", line, err)
		}
	}
	s := &Socket{Protocol: Unix, Family: UnixPath, Type: unixTypes[uint8(kind)], State: Close, Inode: inode}
	if len(f) > 7 {
		// The path may hold spaces, and is the rest.
		_, path, _ := strings.Cut(line, " "+f[6]+" ")
		s.Local.Path = path
		s.State = Bound
	}
	const accepts, connected = 1 << 16, 3 // __SO_ACCEPTCON, SS_CONNECTED
	switch {
	case flags&accepts != 0:
		s.State = Listen
	case f[5] == fmt.Sprintf("%02d", connected):
		s.State = Established
	}
	return s, nil
}
