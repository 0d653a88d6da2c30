package fdscan

// BPFMap is a map of the BPF machine (bpf(2)).
var BPFMap = registerKind(&Kind{
	Name: "bpf-map", Title: "a map of the BPF machine", Says: "name, type, id, and size", Links: []string{"anon_inode:bpf-map", "anon_inode:[bpf-map]"},
	tell: func(l *lister, d *Descriptor) string {
		const nameOffset = 24 // in struct bpf_map_info
		return sentence(l.bpfName(d, nameOffset), typeName(bpfMapTypes, d.detail("map_type")), labelled("id", d.detail("map_id")), labelled("at most", counted(d.detail("max_entries"), "entries")))
	},
})

// bpfMapTypes are the names of enum bpf_map_type.
var bpfMapTypes = []string{
	"unspec", "hash", "array", "prog_array", "perf_event_array", "percpu_hash", "percpu_array", "stack_trace", "cgroup_array", "lru_hash", "lru_percpu_hash",
	"lpm_trie", "array_of_maps", "hash_of_maps", "devmap", "sockmap", "cpumap", "xskmap", "sockhash", "cgroup_storage", "reuseport_sockarray",
	"percpu_cgroup_storage", "queue", "stack", "sk_storage", "devmap_hash", "struct_ops", "ringbuf", "inode_storage", "task_storage", "bloom_filter",
	"user_ringbuf", "cgrp_storage", "arena",
}
