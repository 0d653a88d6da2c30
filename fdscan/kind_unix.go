package fdscan

// UnixSocket is a socket of the unix family (unix(7)).
var UnixSocket = registerKind(&Kind{
	Name: "unix", Title: "a unix socket; its peers are those at the other end", Says: "type, name, state, the name of the other end, and what is queued", Of: AnySocket,
	narrows: ofProtocol("UNIX", "UNIX-STREAM"),
	tell: func(_ *lister, d *Descriptor) string {
		if d.Socket == nil {
			return "in no table that was read"
		}
		files := ""
		if n := d.detail("scm_fds"); n != "0" {
			files = counted(n, "files in messages that were not received")
		}
		return sentence(d.Socket.words(), files, d.elsewhere())
	},
})
