package fdscan

// PerfEvent is a performance counter (perf_event_open(2)).
var PerfEvent = registerKind(&Kind{Name: "perf_event", Title: "a performance counter (perf_event_open)", Links: []string{"anon_inode:[perf_event]"}})
