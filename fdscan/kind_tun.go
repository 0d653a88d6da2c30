package fdscan

// TUN is a queue of a network interface that a program drives (/dev/net/tun).
var TUN = registerKind(&Kind{
	Name: "tun", Title: "a network interface that a program drives (tun, tap)", Says: "the name of the interface", Links: []string{"/dev/net/tun"}, Of: Character,
	narrows: miscDevice("tun"),
	tell: func(_ *lister, d *Descriptor) string {
		if name := d.detail("iff"); name != "" {
			return "interface " + name
		}
		return "no interface"
	},
})
