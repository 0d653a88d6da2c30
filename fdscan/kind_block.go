package fdscan

import "golang.org/x/sys/unix"

// Block is a block device.
var Block = registerKind(&Kind{
	Name: "block", Title: "a block device", Says: "major and minor number, and the driver (/proc/devices)", Of: Regular,
	narrows: ofFormat(unix.S_IFBLK), tell: (*lister).tellDevice,
})
