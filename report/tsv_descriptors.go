package report

import (
	"strconv"
	"strings"

	"stray/fdscan"
)

// tsvDescriptorColumns are those of a list of descriptors, permanent as
// tsvColumns are. Peers are PID:FD, or PID/TID:FD, and +N for N more,
// locks TYPE:ACCESS:PID:START:END, and details
// NAME=VALUE; commas separate several, and semicolons details.
var tsvDescriptorColumns = []string{
	"pid", "tid", "fd", "kind", "mode", "cloexec", "flags", "pos", "size", "allocated", "inode", "device", "mount", "deleted", "link", "target", "peers", "locks",
	"description", "details", "error", "uid", "user", "comm", "exe",
}

func descriptorCells(d *fdscan.Descriptor) []string {
	cloexec, pos := "", ""
	if d.CloseOnExec != nil {
		cloexec = yesNo(*d.CloseOnExec)
	}
	if d.Pos != nil {
		pos = strconv.FormatInt(*d.Pos, 10)
	}
	p := d.Process
	return []string{
		strconv.Itoa(p.PID), number(uint64(d.TID)), strconv.Itoa(d.FD), d.Kind.Name, accessText(d), cloexec, strings.Join(statusFlags(d), "|"), pos,
		bytesText(d.Size), bytesText(d.Allocated), number(d.Inode), deviceText(d.Device), number(uint64(d.MountID)), yesNo(d.Deleted), d.Link, d.Target,
		peersCell(d),
		joined(d.Locks, ",", lockCell),
		number(d.Description), joined(d.Details, ";", func(f fdscan.Detail) string { return f.Name + "=" + f.Value }), d.Err,
		strconv.FormatUint(uint64(p.UID), 10), p.User, p.Comm, p.Exe,
	}
}

func peersCell(d *fdscan.Descriptor) string {
	text := joined(d.Peers, ",", peerCell)
	if d.MorePeers > 0 {
		text += ",+" + strconv.Itoa(d.MorePeers)
	}
	return text
}

func peerCell(p fdscan.Peer) string {
	text := strconv.Itoa(p.Process.PID)
	if p.TID != 0 {
		text += "/" + strconv.Itoa(p.TID)
	}
	return text + ":" + strconv.Itoa(p.FD)
}

func lockCell(l fdscan.Lock) string {
	end := "EOF"
	if l.End >= 0 {
		end = strconv.FormatInt(l.End, 10)
	}
	return strings.Join([]string{l.Type, l.Access, number(uint64(l.PID)), strconv.FormatInt(l.Start, 10), end}, ":")
}

// joined writes all with a separator.
func joined[T any](all []T, separator string, write func(T) string) string {
	return strings.Join(list(all, write), separator)
}
