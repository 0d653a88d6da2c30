package fdscan

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/sockdiag"
)

// ListeningPorts returns the TCP ports that are listened on in the caller's
// network namespace, ascending: what a shell offers to complete.
func ListeningPorts() ([]uint16, error) {
	return boundPorts(unix.IPPROTO_TCP, 1<<sockdiag.Listen)
}

// UDPPorts returns the ports that UDP sockets are bound to, ascending; those of
// connected ones are left out.
func UDPPorts() ([]uint16, error) {
	return boundPorts(unix.IPPROTO_UDP, 1<<sockdiag.Close)
}

func boundPorts(protocol, states uint32) (ports []uint16, err error) {
	conn, err := sockdiag.Dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		rows, err := conn.Inet(sockdiag.InetRequest{Family: family, Protocol: protocol, States: states})
		if err != nil {
			return nil, err
		}
		for i := range rows {
			ports = append(ports, rows[i].Local.Port())
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// Program is a running process, as it is offered for completion.
type Program struct {
	PID     int
	Command string // its arguments, between spaces
}

// Programs returns the processes that can be seen and have arguments, by pid:
// threads of the kernel and zombies have none. Arguments are memory of the process,
// which may never be read from a file server that is dead: after a second what is
// missing is left out.
func (s *Scanner) Programs() ([]Program, error) {
	pids, err := listPIDs(s.root())
	if err != nil {
		return nil, err
	}
	read := make(chan Program, len(pids))
	for _, pid := range pids {
		go func() {
			const most = 200
			text, _ := readMost(s.path(strconv.Itoa(pid), "cmdline"), most)
			text = bytes.TrimRight(bytes.ReplaceAll(text, []byte{0}, []byte{' '}), " ")
			read <- Program{pid, string(text)}
		}()
	}
	var programs []Program
	enough := time.After(patience)
	for range pids {
		select {
		case p := <-read:
			if p.Command != "" {
				programs = append(programs, p)
			}
			continue
		case <-enough:
		}
		break
	}
	slices.SortFunc(programs, func(a, b Program) int { return a.PID - b.PID })
	return programs, nil
}
