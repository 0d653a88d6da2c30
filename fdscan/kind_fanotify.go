package fdscan

// Fanotify is a watcher of files, mounts or file systems (fanotify(7)).
var Fanotify = registerKind(&Kind{
	Name: "fanotify", Title: "a watcher of files, mounts or file systems (fanotify)", Says: "what it watches, as of inotify",
	Links: []string{"anon_inode:[fanotify]"}, tell: (*lister).tellMarks,
})
