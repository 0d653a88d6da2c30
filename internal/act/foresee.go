package act

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"stray/fdscan"
)

// Foresee says what a step of the plan will do, in lines for people: what is
// lost, who keeps the socket, and what the program sees next.
func (p *Plan) Foresee(s *Step) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	switch s.Method {
	case Seal:
		if !slices.ContainsFunc(s.Holders, func(h *fdscan.Holder) bool { return h.CloseOnExec == nil || !*h.CloseOnExec }) {
			say("FD_CLOEXEC is set already: nothing changes")
			return lines
		}
		say("the next exec in this process closes %s; until then nothing changes", s.Numbers())
		say("a server that replaces itself by exec, on an upgrade or a reload, loses it then")
		return lines
	case Destroy:
		if len(s.Holders) == 0 {
			say("the kernel aborts it; no process holds it")
		} else {
			say("the kernel aborts it for %s: they see ECONNABORTED or EINVAL, a peer sees a reset; their descriptors stay", names(s.Holders))
		}
		if s.isPort() && len(s.Holders) > 0 {
			say("a port that the program has chosen itself stays bound until it closes its descriptor")
		}
		say("%s", s.lost())
		return lines
	case Half:
		say("the peer is told that nothing more comes (FIN); once it has closed its side, %s is parked", s.Numbers())
	case Park, Close:
	}
	keepers := p.keepers(s)
	if len(keepers) > 0 {
		say("kept by %s: %s, and nothing queued is lost", names(keepers), s.stays())
	} else {
		say("%s", s.lost())
		if s.orphaned() {
			say("the kernel goes on sending them without a process, unless the program has set SO_LINGER; --destroy ends that")
		}
	}
	is, stays := "is", "stays"
	if len(s.Holders) > 1 {
		is, stays = "are", "stay"
	}
	if s.Method == Close {
		say("%s %s free at once: when the program opens something it may get the number, and use it as this socket", s.Numbers(), is)
	} else {
		say("%s %s taken, by an inert object, until the program closes it", s.Numbers(), stays)
	}
	return append(lines, s.sees(len(keepers) > 0)...)
}

func (s *Step) isPort() bool {
	return s.Socket.State == fdscan.Listen || s.Socket.State == fdscan.Bound
}

// stays says what does not change while somebody keeps the socket.
func (s *Step) stays() string {
	switch {
	case !s.isPort():
		return "the connection stays open"
	case s.Socket.Protocol == fdscan.Unix:
		return "the name stays taken"
	}
	return "the port stays taken"
}

// orphaned reports whether the kernel keeps the connection once its last
// descriptor is gone, since bytes are on their way. It does not when some have not
// been read: then it resets the connection (tcp_close).
func (s *Step) orphaned() bool {
	k := s.Socket
	sent, shut := s.underWay()
	return (s.Method == Park || s.Method == Close) && k.Protocol == fdscan.TCP && (k.State == fdscan.Established || shut) &&
		sent > 0 && k.RecvQueue != nil && *k.RecvQueue == 0
}

// underWay is how many bytes the peer has not acknowledged, and whether the
// connection is shut down for writing behind them: the FIN, as the SYN
// before all, counts as one in the kernel's queue.
func (s *Step) underWay() (sent uint32, shut bool) {
	k := s.Socket
	if k.SendQueue != nil {
		sent = *k.SendQueue
	}
	shut = k.State == fdscan.FinWait1 || k.State == fdscan.Closing || k.State == fdscan.LastAck
	if (shut || k.State == fdscan.SynSent) && sent > 0 {
		sent--
	}
	return sent, shut
}

// lost is what goes with the last reference.
func (s *Step) lost() string {
	k := s.Socket
	var received uint32
	if k.RecvQueue != nil {
		received = *k.RecvQueue
	}
	sent, shut := s.underWay()
	if k.State == fdscan.CloseWait && received > 0 {
		received-- // the peer's FIN counts as one
	}
	var parts []string
	switch {
	case k.Backlog != nil && k.Backlog.Queued > 0:
		return "lost: " + count(k.Backlog.Queued, "connection") + " in the backlog, reset before anybody accepted"
	case k.State == fdscan.Listen, k.State == fdscan.Bound && received == 0:
		return "nothing is lost: nothing waits in its queue"
	case received > 0 && (k.Protocol == fdscan.UDP || k.Protocol == fdscan.UDPLite):
		parts = append(parts, "datagrams that were not read")
	case received > 0:
		parts = append(parts, count(received, "byte")+" not read yet (the peer is reset)")
	}
	on := ""
	if k.Health != nil && k.Health.TCP != nil {
		// What was never sent, and what was and is not acknowledged.
		unsent := min(sent, k.Health.TCP.NotsentBytes)
		on = fmt.Sprintf("%d unsent and %d unacknowledged bytes", unsent, sent-unsent)
	}
	finish := " (--half lets the peer finish first)"
	if len(s.Holders) == 0 || shut {
		finish = "" // there is no descriptor to do that with, or it has been done
	}
	switch {
	case sent > 0 && on != "" && s.Method == Half:
		parts = append(parts, on+", which the peer gets first")
	case sent > 0 && on != "":
		parts = append(parts, on+finish)
	case sent > 0 && s.Method == Half:
		parts = append(parts, count(sent, "byte")+" on the way, which the peer gets first")
	case sent > 0:
		parts = append(parts, count(sent, "byte")+" that the peer has not acknowledged"+finish)
	}
	if parts == nil {
		return "nothing is lost: both queues are empty"
	}
	return "at stake: " + strings.Join(parts, " and ")
}

// sees are what the program meets next, from what its threads do now.
func (s *Step) sees(kept bool) (lines []string) {
	answer, hangUp := "EINVAL", "sees it hang up"
	if s.Method == Close {
		answer, hangUp = "EBADF", "gets POLLNVAL or EBADF"
	}
	threads := map[string][]int{}
	if e := s.Process().Evidence; e != nil {
		for _, w := range e.Waits {
			if slices.Contains(w.Inodes, s.Socket.Inode) {
				threads[w.Call] = append(threads[w.Call], w.TID)
			}
		}
	}
	if len(threads) == 0 {
		return []string{"no thread waits on it now; a call that uses it later fails, with " + answer + " mostly"}
	}
	for _, call := range slices.Sorted(maps.Keys(threads)) {
		text := fmt.Sprintf("%s waits in %s", threadList(threads[call]), call)
		switch call {
		case "epoll_wait", "epoll_pwait", "epoll_pwait2":
			// A registration belongs to the open file, and goes with its last
			// reference.
			if kept {
				text += ", which watches it: while others keep it, it is still woken, in vain: it may spin, and take wake-ups that were theirs (EPOLLEXCLUSIVE)"
			} else {
				text += ", which watches it: it is not told, and is not woken for it any more"
			}
		case "poll", "ppoll", "select", "pselect6":
			text += " on it: it wakes, and " + hangUp
		case "write", "writev", "sendto", "sendmsg", "sendmmsg", "sendfile":
			refused := answer
			if s.Method != Close {
				refused = "ENOTCONN"
			}
			text += " on it: the call is interrupted and returns what it has sent, if anything, or " + refused
		default:
			text += " on it: the call is interrupted and returns " + answer
		}
		lines = append(lines, text)
	}
	return lines
}

// Numbers names the descriptors: "fd 3, 4 and 7", and the thread whose they are
// where that is not the process's table.
func (s *Step) Numbers() string {
	text := "fd " + enumerate(s.FDs())
	if tid := s.Holders[0].TID; tid != 0 {
		text += fmt.Sprintf(" (of thread %d)", tid)
	}
	return text
}

func threadList(tids []int) string {
	if len(tids) == 1 {
		return fmt.Sprintf("thread %d", tids[0])
	}
	const most = 3
	if len(tids) > most {
		return fmt.Sprintf("each of %d threads", len(tids))
	}
	return "each of threads " + enumerate(tids)
}

// names lists the processes of holders, each once.
func names(holders []*fdscan.Holder) string {
	var words []string
	for _, h := range holders {
		if word := fmt.Sprintf("pid %d (%s)", h.Process.PID, h.Process.Comm); !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	const most = 3
	if rest := len(words) - most; rest > 1 {
		words = append(words[:most], fmt.Sprintf("%d more", rest))
	}
	return join(words)
}

func enumerate(numbers []int) string {
	words := make([]string, len(numbers))
	for i, n := range numbers {
		words[i] = fmt.Sprint(n)
	}
	return join(words)
}

func join(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func count(n uint32, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
