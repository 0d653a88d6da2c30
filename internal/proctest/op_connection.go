package proctest

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "timewait NETWORK ADDRESS [name=N]",
	text: "leaves a connection to the address in TIME_WAIT, on the side of the listener, which is closed: it is called " +
		"Nserver, and N is timewait unless said.",
	min: 2, max: 2, options: []string{"name"},
	expand: func(op *operation) string {
		return connection(op, "close %[1]sserver; close %[1]sclient; close %[1]s; await %[1]sserver TIME_WAIT")
	},
})

var _ = define(&specification{
	usage: "orphan NETWORK ADDRESS [name=N]",
	text: "leaves a connection to the address in FIN_WAIT1, on the side of the listener, with data that the peer does not " +
		"read: it is called Nserver, and N is orphan unless said. The listener is closed; the peer, Nclient, stays open.",
	min: 2, max: 2, options: []string{"name"},
	expand: func(op *operation) string {
		return connection(op, "fill %[1]sserver; close %[1]sserver; close %[1]s; await %[1]sserver FIN_WAIT1")
	},
})

// connection is a script that makes a connection by way of the listener N, and
// then does something to it; %[1]s stands for N in it.
func connection(op *operation, then string) string {
	return fmt.Sprintf("listen %[2]s %[3]s name=%[1]s; connect %[2]s %[1]s name=%[1]sclient; accept %[1]s name=%[1]sserver; "+then,
		op.option("name", op.Name), op.Args[0], op.Args[1])
}

var _ = define(&specification{
	usage: "backlog [LISTENER] N",
	text: "connects N clients that the listener does not accept, called client, client2, …; those that do not fit into its " +
		"queue stay in SYN_SENT.",
	min: 1, max: 2,
	run: func(r *role, op *operation) error {
		n, err := strconv.Atoi(op.Args[len(op.Args)-1])
		if err != nil {
			return err
		}
		listener, err := r.table.find(first(op.Args[:len(op.Args)-1]))
		if err != nil {
			return err
		}
		socket, _ := r.socketOf(listener.Name)
		fd := listener.FD // the table moves as it grows
		for range n {
			client := &operation{
				Name: "connect", Args: []string{socket.Network, socket.Name},
				Options: map[string]string{"nonblock": "1", "name": r.table.unused("client")},
			}
			if err := r.do(client); err != nil {
				return err
			}
		}
		return awaitQueue(fd, n)
	},
})

// awaitQueue waits until n connections are in a TCP listener's queue, or as
// many as fit.
func awaitQueue(fd, n int) error {
	return await("accept queue", func() (bool, error) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == unix.EOPNOTSUPP {
			return true, nil // a unix socket: connect is done when it returns
		}
		if err != nil {
			return false, err
		}
		// Of a listener, tcpi_unacked is the queue's length, and tcpi_sacked its
		// limit, which one more may exceed: tcp_get_info of net/ipv4/tcp.c.
		return int(info.Unacked) >= min(n, int(info.Sacked)+1), nil
	})
}

var _ = define(&specification{
	usage: "fill [FD]",
	text:  "writes to a connection until the kernel takes no more, although the peer reads nothing: most of it stays unsent.",
	max:   1,
	run: func(r *role, op *operation) error {
		e, err := r.table.find(first(op.Args))
		if err != nil {
			return err
		}
		data := make([]byte, 1<<16)
		for {
			_, err := unix.SendmsgN(e.FD, data, nil, nil, unix.MSG_DONTWAIT)
			switch err {
			case nil, unix.EINTR:
			case unix.EAGAIN:
				return nil
			default:
				return err
			}
		}
	},
})

var _ = define(&specification{
	usage: "send [FD] N",
	text:  "writes N bytes, of at most 65536.",
	min:   1, max: 2,
	compile: func(t *table, op *operation) (program, error) {
		n, err := strconv.Atoi(op.Args[len(op.Args)-1])
		if err != nil || n < 0 || n > 1<<16 {
			return nil, fmt.Errorf("%s: bad number of bytes", op)
		}
		e, err := t.find(first(op.Args[:len(op.Args)-1]))
		if err != nil {
			return nil, err
		}
		var p program
		data := new([1 << 16]byte)
		p.add(unix.SYS_WRITE, uintptr(e.FD), pointer(data), uintptr(n)).keep = data
		return p, nil
	},
})

var _ = define(&specification{
	usage: "shutdown [FD] read|write|both",
	text:  "shuts a connection down, for everyone who holds it.",
	min:   1, max: 2,
	compile: func(t *table, op *operation) (program, error) {
		how, ok := map[string]uintptr{"read": unix.SHUT_RD, "write": unix.SHUT_WR, "both": unix.SHUT_RDWR}[op.Args[len(op.Args)-1]]
		if !ok {
			return nil, fmt.Errorf("%s: what to shut down?", op)
		}
		e, err := t.find(first(op.Args[:len(op.Args)-1]))
		if err != nil {
			return nil, err
		}
		var p program
		p.add(unix.SYS_SHUTDOWN, uintptr(e.FD), how)
		return p, nil
	},
})

// tcpStates are the states of /proc/net/tcp: include/net/tcp_states.h.
var tcpStates = map[string]string{
	"ESTABLISHED": "01", "SYN_SENT": "02", "SYN_RECV": "03", "FIN_WAIT1": "04", "FIN_WAIT2": "05", "TIME_WAIT": "06",
	"CLOSE": "07", "CLOSE_WAIT": "08", "LAST_ACK": "09", "LISTEN": "0A", "CLOSING": "0B",
}

var _ = define(&specification{
	usage: "await NAME STATE",
	text:  "waits until the TCP socket of that name, which may be closed, is in a state, such as TIME_WAIT.",
	min:   2, max: 2,
	run: func(r *role, op *operation) error {
		state, ok := tcpStates[op.Args[1]]
		s, known := r.socketOf(op.Args[0])
		if !ok || !known || !s.Local.IsValid() {
			return fmt.Errorf("%s: no such state or socket", op)
		}
		return await(op.Args[1], func() (bool, error) {
			found, err := stateOf(s.Local, s.Remote)
			return found == state, err
		})
	},
})

// stateOf returns the state of a connection in /proc/net, as two digits; it is
// empty when there is no such connection.
func stateOf(local, remote netip.AddrPort) (string, error) {
	file := "/proc/thread-self/net/tcp"
	if local.Addr().Is6() {
		file += "6"
	}
	text, err := readAll(file)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 3 && fields[1] == hexAddress(local) && (!remote.IsValid() || fields[2] == hexAddress(remote)) {
			return fields[3], nil
		}
	}
	return "", nil
}

// hexAddress writes an address as /proc/net does: words of 32 bits in the
// machine's order, which is little-endian here, and the port as a number.
func hexAddress(a netip.AddrPort) string {
	var b strings.Builder
	bytes := a.Addr().AsSlice()
	for i := range bytes {
		fmt.Fprintf(&b, "%02X", bytes[i/4*4+3-i%4])
	}
	fmt.Fprintf(&b, ":%04X", a.Port())
	return b.String()
}

// await polls until a condition of the kernel's is met.
func await(what string, met func() (bool, error)) error {
	for deadline := time.Now().Add(settleTime / 2); ; {
		ok, err := met()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not reached", what)
		}
		nap()
	}
}

// nap sleeps a millisecond without the runtime's timers, which a role has not.
func nap() { unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil) }
