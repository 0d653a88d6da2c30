package fdscan

// SyncFile is a fence of a graphics driver: something that it has yet to do.
var SyncFile = registerKind(&Kind{Name: "sync_file", Title: "a fence of a graphics driver (sync_file)", Links: []string{"anon_inode:sync_file", "anon_inode:[sync_file]"}})
