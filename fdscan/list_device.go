package fdscan

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// drivers are the names of device numbers: /proc/devices, and for the minor
// numbers of "misc" /proc/misc.
type drivers struct {
	character, block map[uint32][]string // by major number
	misc             map[uint32]string   // by minor number
}

// miscMajor is the major number of miscellaneous devices.
const miscMajor = 10

func (l *lister) deviceDrivers() *drivers {
	if l.drivers == nil {
		devices, _ := readFile(l.path("devices"))
		misc, _ := readFile(l.path("misc"))
		l.drivers = parseDrivers(string(devices), string(misc))
	}
	return l.drivers
}

// parseDrivers reads "  5 /dev/tty" below "Character devices:" and "Block
// devices:", and "200 tun" of /proc/misc.
func parseDrivers(devices, misc string) *drivers {
	d := &drivers{character: map[uint32][]string{}, block: map[uint32][]string{}, misc: map[uint32]string{}}
	into := d.character
	for line := range strings.Lines(devices) {
		if strings.HasPrefix(line, "Block") {
			into = d.block
		}
		if n, name, ok := parseDriver(line); ok {
			into[n] = append(into[n], name)
		}
	}
	for line := range strings.Lines(misc) {
		if n, name, ok := parseDriver(line); ok {
			d.misc[n] = name
		}
	}
	return d
}

func parseDriver(line string) (number uint32, name string, ok bool) {
	first, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	n, err := strconv.ParseUint(first, 10, 32)
	return uint32(n), strings.TrimSpace(rest), err == nil
}

// driver is the name of the driver of a device; "" when there is none, or
// several share the major number.
func (l *lister) driver(d *Descriptor) string {
	all, major, minor := l.deviceDrivers(), unix.Major(d.Number), unix.Minor(d.Number)
	names := all.character[major]
	switch {
	case d.format() == unix.S_IFBLK:
		names = all.block[major]
	case major == miscMajor && all.misc[minor] != "":
		return all.misc[minor]
	}
	if len(names) != 1 {
		return ""
	}
	return names[0]
}

// tellDevice is the number of a device, and its driver.
func (l *lister) tellDevice(d *Descriptor) string {
	if d.Number == 0 {
		return ""
	}
	return sentence(fmt.Sprintf("device %d:%d", unix.Major(d.Number), unix.Minor(d.Number)), l.driver(d))
}

// miscDevice narrows to the miscellaneous device with a name.
func miscDevice(name string) func(*lister, *Descriptor) bool {
	return func(l *lister, d *Descriptor) bool { return unix.Major(d.Number) == miscMajor && l.driver(d) == name }
}
