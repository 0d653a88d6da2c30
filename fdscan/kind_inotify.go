package fdscan

// Inotify is a watcher of files (inotify(7)).
var Inotify = registerKind(&Kind{
	Name: "inotify", Title: "a watcher of files (inotify)", Says: "what it watches: paths where the kernel can be asked (CAP_DAC_READ_SEARCH), else inode and device",
	Links: []string{"anon_inode:inotify", "anon_inode:[inotify]"}, tell: (*lister).tellMarks,
})
