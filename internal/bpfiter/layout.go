package bpfiter

import (
	"fmt"
	"math"
)

// layout is what the program has to know of the running kernel: where members
// are, in bytes, and the numbers of types and functions.
type layout struct {
	task struct{ files, leader, pid, tgid, flags, ids int }
	ids  struct{ level, numbers, stride int } // struct pid
	// files are struct files_struct, and table struct fdtable.
	files  struct{ table int }
	table  struct{ size, files, open, closeOnExec int }
	file   struct{ inode, operations, flags, mount, dentry int }
	inode  struct{ number, mode, super int }
	super  struct{ magic int }
	dentry struct{ parent, hashed, name int }
	// types are those of what an address is of: word is of 64 bits without a
	// meaning (struct bpf_iter_num).
	types struct{ task, file, word uint32 }
	// cast, loopNew, loopNext and loopEnd are functions: bpf_rdonly_cast (Linux
	// 6.2), and those of bpf_iter_num (Linux 6.4).
	cast, loopNew, loopNext, loopEnd uint32
	// tasks is the function that an iterator over tasks is attached to.
	tasks uint32
}

// readLayout looks the layout up in the description of the kernel's types. An
// error names what this kernel does not have.
func readLayout(data []byte) (*layout, error) {
	b, err := parseBTF(data)
	if err != nil {
		return nil, err
	}
	structures := map[string]*named{}
	var wanted []*named
	for _, name := range []string{
		"task_struct", "pid", "upid", "files_struct", "fdtable", "file", "path", "inode", "super_block", "dentry", "qstr", "hlist_bl_node", "bpf_iter_num",
	} {
		structures[name] = &named{name: name, kind: kindStruct}
		wanted = append(wanted, structures[name])
	}
	var l layout
	functions := []struct {
		to *uint32
		*named
	}{
		{&l.cast, &named{name: "bpf_rdonly_cast"}},
		{&l.loopNew, &named{name: "bpf_iter_num_new"}},
		{&l.loopNext, &named{name: "bpf_iter_num_next"}},
		{&l.loopEnd, &named{name: "bpf_iter_num_destroy"}},
		{&l.tasks, &named{name: "bpf_iter_task"}},
	}
	for _, f := range functions {
		f.kind = kindFunc
		wanted = append(wanted, f.named)
	}
	if err := b.find(wanted); err != nil {
		return nil, err
	}
	for _, f := range functions {
		*f.to = f.id
	}
	l.types.task, l.types.file, l.types.word = structures["task_struct"].id, structures["file"].id, structures["bpf_iter_num"].id
	upid, _ := b.at(structures["upid"].place)
	l.ids.stride = int(upid.size)
	for _, m := range []struct {
		to                *int
		structure, member string
	}{
		{&l.task.files, "task_struct", "files"},
		{&l.task.leader, "task_struct", "group_leader"},
		{&l.task.pid, "task_struct", "pid"},
		{&l.task.tgid, "task_struct", "tgid"},
		{&l.task.flags, "task_struct", "flags"},
		{&l.task.ids, "task_struct", "thread_pid"},
		{&l.ids.level, "pid", "level"},
		{&l.ids.numbers, "pid", "numbers"},
		{&l.ids.numbers, "upid", "nr"},
		{&l.files.table, "files_struct", "fdt"},
		{&l.table.size, "fdtable", "max_fds"},
		{&l.table.files, "fdtable", "fd"},
		{&l.table.open, "fdtable", "open_fds"},
		{&l.table.closeOnExec, "fdtable", "close_on_exec"},
		{&l.file.inode, "file", "f_inode"},
		{&l.file.operations, "file", "f_op"},
		{&l.file.flags, "file", "f_flags"},
		{&l.file.mount, "file", "f_path"},
		{&l.file.mount, "path", "mnt"},
		{&l.file.dentry, "file", "f_path"},
		{&l.file.dentry, "path", "dentry"},
		{&l.inode.number, "inode", "i_ino"},
		{&l.inode.mode, "inode", "i_mode"},
		{&l.inode.super, "inode", "i_sb"},
		{&l.super.magic, "super_block", "s_magic"},
		{&l.dentry.parent, "dentry", "d_parent"},
		{&l.dentry.hashed, "dentry", "d_hash"},
		{&l.dentry.hashed, "hlist_bl_node", "pprev"},
		{&l.dentry.name, "dentry", "d_name"},
		{&l.dentry.name, "qstr", "name"},
	} {
		offset, err := b.member(structures[m.structure].place, m.member)
		if err != nil {
			return nil, err
		}
		*m.to += offset // a member of a member adds to it
		if *m.to > math.MaxInt16 {
			return nil, fmt.Errorf("%s: %s of %s is too far in it", btfFile, m.member, m.structure)
		}
	}
	return &l, nil
}
