package proctest

import (
	"fmt"

	"golang.org/x/sys/unix"
)

var _ = define(&specification{
	usage: "serve accept|epoll|poll|select|recv|pause|sleep|futex|wait|busy|grow [FD…]",
	text: "is how the process goes on: it accepts and closes connections in accept(2), or after epoll_pwait, ppoll or pselect6 " +
		"has reported one; it receives; or it waits for what is no descriptor; busy computes; grow " +
		"duplicates a descriptor 50 times a second. " +
		"With the name of an epoll instance, epoll waits on that; otherwise it makes one. Without serve, a process pauses.",
	min: 1, max: -1, last: true,
	compile: func(t *table, op *operation) (program, error) {
		mode, ok := serveModes[op.Args[0]]
		if !ok {
			return nil, fmt.Errorf("%s: unknown way to serve", op)
		}
		var found []entry
		if mode.descriptors {
			var err error
			if found, err = t.findAll(op.Args[1:]); err != nil {
				return nil, err
			}
		}
		return mode.compile(found), nil
	},
})

// serveMode is one way to go on until killed.
type serveMode struct {
	// call is what /proc/TID/syscall shows.
	call uintptr
	// descriptors tells that it is about descriptors.
	descriptors bool
	compile     func([]entry) program
}

// noCall is the call of a mode that computes, where /proc shows "running".
const noCall = ^uintptr(0)

var serveModes = map[string]serveMode{
	"accept": {unix.SYS_ACCEPT4, true, func(es []entry) program {
		var p program
		p.takeConnection(es[0])
		p.repeatFrom(0)
		return p
	}},
	"epoll":  {unix.SYS_EPOLL_PWAIT, true, serveEpoll},
	"poll":   {unix.SYS_PPOLL, true, servePoll},
	"select": {unix.SYS_PSELECT6, true, serveSelect},
	"recv": {unix.SYS_RECVFROM, true, func(es []entry) program {
		var p program
		buffer := new([4096]byte)
		c := p.add(unix.SYS_RECVFROM, uintptr(es[0].FD), pointer(buffer), uintptr(len(buffer)))
		c.lax, c.keep = true, buffer
		if es[0].Kind == "bind" {
			p.repeatFrom(0)
		}
		// What is connected may be at its end for ever.
		p.append(pause())
		return p
	}},
	"pause": {sysPause, false, func([]entry) program { return pause() }},
	"sleep": {unix.SYS_CLOCK_NANOSLEEP, false, func([]entry) program {
		var p program
		duration := &unix.Timespec{Sec: 3600}
		c := p.add(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, pointer(duration))
		c.lax, c.keep = true, duration
		p.repeatFrom(0)
		return p
	}},
	"futex": {unix.SYS_FUTEX, false, func([]entry) program {
		var p program
		word := new(uint32)
		const wait, private = 0, 128
		c := p.add(unix.SYS_FUTEX, pointer(word), wait|private, 0, 0)
		c.lax, c.keep = true, word
		p.repeatFrom(0)
		return p
	}},
	"wait": {unix.SYS_WAIT4, false, func([]entry) program {
		var p program
		anyChild := -1
		p.add(unix.SYS_WAIT4, uintptr(anyChild)).lax = true
		p.append(pause())
		return p
	}},
	"grow": {unix.SYS_CLOCK_NANOSLEEP, true, func(es []entry) program {
		var p program
		p.add(unix.SYS_FCNTL, uintptr(es[0].FD), unix.F_DUPFD, 0).lax = true
		duration := &unix.Timespec{Nsec: 20e6}
		c := p.add(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, pointer(duration))
		c.lax, c.keep = true, duration
		p.repeatFrom(0)
		return p
	}},
	"busy": {noCall, false, func([]entry) program {
		var p program
		p.repeatFrom(0)
		return p
	}},
}

// pause waits for a signal, for ever.
func pause() program {
	var p program
	p.add(sysPause).lax = true
	p.repeatFrom(0)
	return p
}

// takeConnection accepts one connection and closes it.
func (p *program) takeConnection(e entry) {
	const connection = 7
	c := p.add(unix.SYS_ACCEPT4, uintptr(e.FD), 0, 0, unix.SOCK_CLOEXEC)
	c.lax, c.into = true, connection
	c = p.add(unix.SYS_CLOSE)
	c.lax, c.from[0] = true, connection
}

// afterEvent deals with what a wait, which began at index start, has reported:
// it takes the connection; on any other descriptor, which would be ready for
// ever, it ends in pause.
func (p *program) afterEvent(start int, es []entry) {
	for _, e := range es {
		if e.Kind != "listen" {
			p.append(pause())
			return
		}
	}
	p.takeConnection(es[0])
	p.repeatFrom(start)
}

func serveEpoll(es []entry) program {
	var p program
	const instance = 1
	if es[0].Kind == "epoll" {
		// What it watches is not known here: an event ends in pause.
		event := new(unix.EpollEvent)
		c := p.add(unix.SYS_EPOLL_PWAIT, uintptr(es[0].FD), pointer(event), 1, ^uintptr(0))
		c.lax, c.keep = true, event
		p.append(pause())
		return p
	}
	p.add(unix.SYS_EPOLL_CREATE1, unix.EPOLL_CLOEXEC).into = instance
	for _, e := range es {
		event := &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(e.FD)}
		c := p.add(unix.SYS_EPOLL_CTL, 0, unix.EPOLL_CTL_ADD, uintptr(e.FD), pointer(event))
		c.from[0], c.keep = instance, event
	}
	start := len(p)
	event := new(unix.EpollEvent)
	c := p.add(unix.SYS_EPOLL_PWAIT, 0, pointer(event), 1, ^uintptr(0))
	c.from[0], c.lax, c.keep = instance, true, event
	p.afterEvent(start, es)
	return p
}

func servePoll(es []entry) program {
	var p program
	set := make([]unix.PollFd, len(es))
	for i, e := range es {
		set[i] = unix.PollFd{Fd: int32(e.FD), Events: unix.POLLIN}
	}
	c := p.add(unix.SYS_PPOLL, pointer(&set[0]), uintptr(len(set)))
	c.lax, c.keep = true, set
	p.afterEvent(0, es)
	return p
}

func serveSelect(es []entry) program {
	var p program
	set, highest := new(unix.FdSet), 0
	for _, e := range es {
		set.Set(e.FD)
		highest = max(highest, e.FD)
	}
	c := p.add(unix.SYS_PSELECT6, uintptr(highest+1), pointer(set))
	c.lax, c.keep = true, set
	p.afterEvent(0, es)
	return p
}
