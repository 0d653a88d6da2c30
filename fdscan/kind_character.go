package fdscan

import "golang.org/x/sys/unix"

// Character is a character device.
var Character = registerKind(&Kind{
	Name: "character", Title: "a character device", Says: "major and minor number, and the driver (/proc/devices, /proc/misc)", Of: Regular,
	narrows: ofFormat(unix.S_IFCHR), tell: (*lister).tellDevice,
})
