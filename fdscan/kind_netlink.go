package fdscan

// NetlinkSocket is a conversation with the kernel (netlink(7)).
var NetlinkSocket = registerKind(&Kind{
	Name: "netlink", Title: "a conversation with the kernel (netlink)", Says: "protocol, port id, groups, and what is queued (/proc/PID/net/netlink)", Of: AnySocket,
	narrows: ofProtocol("NETLINK"), tell: (*lister).tellSocket,
})
