package proctest

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf makes a bpf(2) call whose attributes are these, one behind the other.
func bpf(command uintptr, attributes ...any) (int, error) {
	var m memory
	defer m.release()
	var attr []byte
	for _, a := range attributes {
		var err error
		if attr, err = binary.Append(attr, binary.NativeEndian, a); err != nil {
			return -1, err
		}
	}
	fd, err := makeFD(unix.SYS_BPF, command, at(&m, unsafe.SliceData(attr)), uintptr(len(attr)))
	if err != nil {
		return -1, fmt.Errorf("bpf: %w", err)
	}
	return fd, nil
}

// objectName is a name in the form of union bpf_attr.
func objectName(name string) (b [16]byte) {
	copy(b[:], name)
	return b
}

// makeBPFMap makes an array of 4 values of 8 bytes.
func makeBPFMap() (int, error) {
	const array, noInner, noNode = 2, 0, 0
	return bpf(unix.BPF_MAP_CREATE, [7]uint32{array, 4, 8, 4, 0, noInner, noNode}, objectName("proctest_map"))
}

// program types and attach types of linux/bpf.h.
const (
	socketFilter   = 1
	skLookup       = 30
	attachSKLookup = 36
)

func makeBPFProgram() (int, error) { return bpfProgram(socketFilter, 0) }

// bpfProgram loads a program that returns 1.
func bpfProgram(kind, attach uint32) (int, error) {
	instructions := [...]uint64{
		0x00000001_0000_00_b7, // r0 = 1
		0x00000000_0000_00_95, // exit
	}
	license := [...]byte{'G', 'P', 'L', 0}
	var m memory
	defer m.release()
	return bpf(unix.BPF_PROG_LOAD, [2]uint32{kind, uint32(len(instructions))}, uint64(at(&m, &instructions)), uint64(at(&m, &license)),
		[2]uint32{}, uint64(0), [2]uint32{}, objectName("proctest_prog"), [2]uint32{0, attach})
}

// makeBPFLink attaches a program that lets every packet pass, to a network
// namespace that nothing else is in.
func makeBPFLink() (fd int, err error) {
	program, err := bpfProgram(skLookup, attachSKLookup)
	if err != nil {
		return -1, err
	}
	defer unix.Close(program)
	err = inNewNet(func() error {
		namespace, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(namespace)
		fd, err = bpf(unix.BPF_LINK_CREATE, [4]uint32{uint32(program), uint32(namespace), attachSKLookup, 0})
		return err
	})
	return fd, err
}

// makeBTF loads the type int.
func makeBTF() (int, error) {
	const magic, version, headerSize = 0xeb9f, 1, 24
	types := [4]uint32{1, 1 << 24, 4, 1<<24 | 32} // name at 1, BTF_KIND_INT, 4 bytes; signed, 32 bits
	names := []byte("\x00int\x00")
	size := uint32(unsafe.Sizeof(types))
	data, err := binary.Append(nil, binary.NativeEndian, struct {
		Magic                                        uint16
		Version, Flags                               uint8
		Header, Types, TypesSize, Names, NamesLength uint32
	}{magic, version, 0, headerSize, 0, size, size, uint32(len(names))})
	if err != nil {
		return -1, err
	}
	if data, err = binary.Append(data, binary.NativeEndian, types); err != nil {
		return -1, err
	}
	data = append(data, names...)
	var m memory
	defer m.release()
	return bpf(unix.BPF_BTF_LOAD, uint64(at(&m, unsafe.SliceData(data))), uint64(0), [4]uint32{uint32(len(data))})
}

// makeBPFStats makes a descriptor of a kind for which there is no name in these
// parts: while it is open, the kernel counts the runs of programs.
func makeBPFStats() (int, error) { return bpf(unix.BPF_ENABLE_STATS, uint32(0)) }
