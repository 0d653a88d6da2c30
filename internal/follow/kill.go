package follow

import (
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// survivor is a process that is left behind.
type survivor struct{ pid, pidfd int }

// leave notes a survivor.
func (r *Run) leave(pid int) {
	if pidfd, err := unix.PidfdOpen(pid, 0); err == nil {
		r.left = append(r.left, survivor{pid, pidfd})
	}
}

// Kill ends the survivors and what they start meanwhile: by SIGTERM and, those
// that have not gone after the patience, by SIGKILL. It returns how many are left
// even then. Children that this process has got since Start count as survivors'.
func (r *Run) Kill(patience time.Duration) (left int) {
	r.end(unix.SIGTERM, patience)
	r.end(unix.SIGKILL, patience)
	return len(r.left)
}

// end sends each survivor the signal, and waits until none is left or the
// patience is over. Whom one of them leaves behind is the next: what answers
// SIGTERM by starting something becomes its parent's no more, but ours.
func (r *Run) end(signal unix.Signal, patience time.Duration) {
	told := 0
	for deadline := time.Now().Add(patience); ; {
		r.adopt()
		for _, s := range r.left[told:] {
			unix.PidfdSendSignal(s.pidfd, signal, nil, 0)
		}
		if len(r.left) == 0 || !time.Now().Before(deadline) {
			return
		}
		r.await(deadline)
		told = len(r.left)
	}
}

// adopt takes the children that this process has got since for survivors.
func (r *Run) adopt() {
	for _, child := range r.tree.children(os.Getpid()) {
		known := slices.ContainsFunc(r.left, func(s survivor) bool { return s.pid == child })
		if !known && !slices.Contains(r.tree.strangers, child) {
			r.leave(child)
		}
	}
}

// await waits until a survivor has ended, forgets those that have, and reaps
// those that are ours to reap.
func (r *Run) await(deadline time.Time) {
	watched := make([]unix.PollFd, len(r.left))
	for i, s := range r.left {
		watched[i] = unix.PollFd{Fd: int32(s.pidfd), Events: unix.POLLIN}
	}
	const roundedUp = 1
	if n, err := unix.Poll(watched, max(0, int(time.Until(deadline).Milliseconds())+roundedUp)); n <= 0 || err != nil {
		return
	}
	var left []survivor
	for i, s := range r.left {
		if watched[i].Revents == 0 {
			left = append(left, s)
			continue
		}
		// Until the thread that has followed it is gone, it cannot be reaped: a
		// moment. It is not ours if somebody else has become the reaper.
		for unix.Waitid(unix.P_PIDFD, s.pidfd, nil, unix.WEXITED, nil) == unix.EINTR {
		}
		unix.Close(s.pidfd)
	}
	r.left = left
}

// Close forgets the survivors.
func (r *Run) Close() {
	for _, s := range r.left {
		unix.Close(s.pidfd)
	}
	r.left = nil
	adoptOrphans(r.orphansWent)
}
