package fdscan

// Landlock is a set of rules that a process can restrict itself by (landlock(7)).
var Landlock = registerKind(&Kind{Name: "landlock-ruleset", Title: "a set of rules for a sandbox (landlock)", Links: []string{"anon_inode:[landlock-ruleset]", "anon_inode:landlock-ruleset"}})
