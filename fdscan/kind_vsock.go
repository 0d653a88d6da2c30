package fdscan

// VSocket is a socket between a virtual machine and its host (vsock(7)).
var VSocket = registerKind(&Kind{
	Name: "vsock", Title: "a socket between a virtual machine and its host (vsock)", Says: "addresses and state", Of: AnySocket,
	narrows: ofProtocol("AF_VSOCK"), tell: tellNamed,
})
