package fdscan

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpfName is the name that a program has given a BPF map or program: fdinfo
// lacks it, and a copy of the descriptor tells it (bpf(2),
// BPF_OBJ_GET_INFO_BY_FD, Linux 4.15); "" when there is none, or it may not be
// asked. The offset is that of the name in the struct.
func (l *lister) bpfName(d *Descriptor, offset int) string {
	text := ""
	_ = l.borrow(d, func(fd int) { text = bpfObjectName(fd, offset) })
	return text
}

func bpfObjectName(fd, offset int) string {
	var info [256]byte // struct bpf_map_info or bpf_prog_info
	request := struct {
		fd, length uint32
		info       uint64
	}{uint32(fd), uint32(len(info)), uint64(uintptr(unsafe.Pointer(&info)))}
	const getInfo = 15 // BPF_OBJ_GET_INFO_BY_FD
	if _, _, errno := unix.Syscall(unix.SYS_BPF, getInfo, uintptr(unsafe.Pointer(&request)), unsafe.Sizeof(request)); errno != 0 {
		return ""
	}
	const longest = 16 // BPF_OBJ_NAME_LEN
	name, _, _ := bytes.Cut(info[offset:offset+longest], []byte{0})
	return string(name)
}
