package fdscan

// BPFProg is a program of the BPF machine (bpf(2)).
var BPFProg = registerKind(&Kind{
	Name: "bpf-prog", Title: "a program of the BPF machine", Says: "name, type, id, and tag", Links: []string{"anon_inode:bpf-prog", "anon_inode:[bpf-prog]"},
	tell: func(l *lister, d *Descriptor) string {
		const nameOffset = 64 // in struct bpf_prog_info
		return sentence(l.bpfName(d, nameOffset), typeName(bpfProgTypes, d.detail("prog_type")), labelled("id", d.detail("prog_id")), labelled("tag", d.detail("prog_tag")))
	},
})

// bpfProgTypes are the names of enum bpf_prog_type.
var bpfProgTypes = []string{
	"unspec", "socket_filter", "kprobe", "sched_cls", "sched_act", "tracepoint", "xdp", "perf_event", "cgroup_skb", "cgroup_sock", "lwt_in", "lwt_out",
	"lwt_xmit", "sock_ops", "sk_skb", "cgroup_device", "sk_msg", "raw_tracepoint", "cgroup_sock_addr", "lwt_seg6local", "lirc_mode2", "sk_reuseport",
	"flow_dissector", "cgroup_sysctl", "raw_tracepoint_writable", "cgroup_sockopt", "tracing", "struct_ops", "ext", "lsm", "sk_lookup", "syscall", "netfilter",
}
