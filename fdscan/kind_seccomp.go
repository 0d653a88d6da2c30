package fdscan

// SeccompNotify decides on system calls of others (seccomp_unotify(2)).
var SeccompNotify = registerKind(&Kind{Name: "seccomp-notify", Title: "a supervisor of system calls (seccomp notification)", Links: []string{"anon_inode:seccomp notify", "anon_inode:[seccomp notify]"}})
