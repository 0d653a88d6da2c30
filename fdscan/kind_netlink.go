package fdscan

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// NetlinkSocket is a conversation with the kernel (netlink(7)).
var NetlinkSocket = registerKind(&Kind{
	Name: "netlink", Title: "a conversation with the kernel (netlink)", Says: "protocol, port id, groups, and what is queued (/proc/PID/net/netlink)", Of: AnySocket,
	narrows: ofProtocol("NETLINK"), tell: tellNetlink,
})

// netlinkProtocols are the names of NETLINK_ROUTE and so on (linux/netlink.h).
var netlinkProtocols = map[string]string{
	"0": "route", "2": "usersock", "4": "sock_diag", "5": "nflog", "6": "xfrm", "7": "selinux", "8": "iscsi", "9": "audit", "10": "fib_lookup", "11": "connector",
	"12": "netfilter", "14": "dnrtmsg", "15": "kobject_uevent", "16": "generic", "18": "scsitransport", "19": "ecryptfs", "20": "rdma", "21": "crypto", "22": "smc",
}

// tellNetlink tells of a row of /proc/PID/net/netlink. Pid there is the port id,
// which programs choose: often their pid.
func tellNetlink(l *lister, d *Descriptor) string {
	number := d.detail("Eth")
	if number == "" { // it is not bound yet
		_ = l.borrow(d, func(fd int) {
			if protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err == nil {
				number = strconv.Itoa(protocol)
			}
		})
	}
	name := netlinkProtocols[number]
	if name == "" {
		name = labelled("protocol", number)
	}
	groups := ""
	if g := d.detail("Groups"); strings.Trim(g, "0") != "" {
		groups = "groups 0x" + strings.TrimLeft(g, "0")
	}
	dropped := ""
	if n := d.detail("Drops"); n != "0" {
		dropped = counted(n, "messages dropped")
	}
	return sentence(strings.TrimSpace("netlink "+name), labelled("port id", d.detail("Pid")), groups, queued(d.detail("Rmem"), "unread"), queued(d.detail("Wmem"), "unsent"), dropped)
}
