package act

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"stray/fdscan"
)

// half is a connection that is shut down for writing and waits for its peer.
type half struct {
	fd  int // a copy of the descriptor; -1 when there is none
	err error
}

func (h *half) close() {
	if h.fd >= 0 {
		unix.Close(h.fd)
	}
}

// waiting reports that the peer's end has not come yet.
func (h *half) waiting() bool { return h.fd >= 0 && h.err == nil }

// halfClose shuts the connections of all Half steps down for writing, and then
// waits for the ends of all their peers by one deadline. It acts on the
// connections themselves, and so for all their holders. What is left of a
// connection whose peer does not come to an end stays as it is: the error says so.
func (p *Plan) halfClose(ctx context.Context) map[*Step]*half {
	halves := map[*Step]*half{}
	for _, s := range p.Steps {
		if s.Method != Half || s.refused() {
			continue
		}
		h := &half{fd: -1}
		halves[s] = h
		if ctx.Err() != nil {
			h.err = fmt.Errorf("nothing was done: %w", context.Cause(ctx))
			continue
		}
		var err error
		if h.fd, err = fdscan.Borrow(s.Holders[0], s.Socket.Inode); err != nil {
			h.fd, h.err = -1, borrowError(err)
			continue
		}
		if err := unix.Shutdown(h.fd, unix.SHUT_WR); err != nil && !errors.Is(err, unix.ENOTCONN) {
			h.err = fmt.Errorf("shutdown: %w", err)
		}
	}
	awaitPeers(ctx, halves, p.HalfTimeout)
	return halves
}

// awaitPeers waits until the peer of each half has ended its side, or gives the
// half its error.
func awaitPeers(ctx context.Context, halves map[*Step]*half, timeout time.Duration) {
	// Short polls, so that ctx is noticed.
	const slice = 100 * time.Millisecond
	fail := func(pending []*half, err error) {
		for _, h := range pending {
			h.err = err
		}
	}
	var pending []*half
	for _, h := range halves {
		if h.waiting() {
			pending = append(pending, h)
		}
	}
	for deadline := time.Now().Add(timeout); len(pending) > 0; {
		polls := make([]unix.PollFd, len(pending))
		for i, h := range pending {
			polls[i] = unix.PollFd{Fd: int32(h.fd), Events: unix.POLLRDHUP}
		}
		_, err := unix.Poll(polls, int(slice/time.Millisecond))
		switch {
		case ctx.Err() != nil:
			fail(pending, fmt.Errorf("%w: the connection is shut down for writing, and nothing more was done", context.Cause(ctx)))
			return
		case err != nil && err != unix.EINTR:
			fail(pending, fmt.Errorf("poll: %w", err))
			return
		}
		left := pending[:0]
		for i, h := range pending {
			if err != nil || polls[i].Revents == 0 {
				left = append(left, h)
			}
		}
		pending = left
		if time.Now().After(deadline) {
			fail(pending, fmt.Errorf("%w within %s: the connection is shut down for writing, and nothing more was done", ErrPeerTimeout, timeout))
			return
		}
	}
}
