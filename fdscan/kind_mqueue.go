package fdscan

// MQueue is a POSIX message queue (mq_overview(7)).
var MQueue = registerKind(&Kind{
	Name: "mqueue", Title: "a POSIX message queue", Of: Regular,
	narrows: func(l *lister, d *Descriptor) bool { return l.isMessageQueue(d) },
})
