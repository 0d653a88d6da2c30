package fdscan

import (
	"bytes"
	"path"
	"strconv"
	"strings"
)

// firstPassed is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstPassed = 3

var (
	// namedInArgument finds a descriptor number in a command line: /dev/fd/3,
	// /proc/self/fd/3, fd=3, --fd=3, fd:3, fd://3, unix-fd:3, pipe_handle=3.
	namedInArgument = lazy(`(?i)(?:/dev/fd/|/proc/self/fd/|(?:^|[-_.,;: (])[a-z_-]*(?:fd|fds|handle|sock|socket)(?:=|:/{0,2}))(\d+(?:[,:]\d+)*)`)
	// optionForDescriptor is an option whose value, the next argument, is a
	// descriptor: --fd 3, -listen-fd 3, and --print-address 4 of dbus-daemon(1).
	optionForDescriptor = lazy(`(?i)^-{1,2}(?:[a-z-]*-)?(?:fd|fds)$|^--print-(?:address|pid)$`)
	// variableForDescriptor is an environment variable that carries numbers
	// of descriptors: NODE_CHANNEL_FD, GUNICORN_FD, EINHORN_FD_0, and NGINX
	// (which an nginx that replaces itself sets to "6;7;").
	variableForDescriptor = lazy(`(?:^|_)FDS?(?:_\d+)?$|^NGINX$|_SOCKETS?$`)
	// variableForAddress is one that carries addresses, each with its number:
	// "127.0.0.1:80=4;[::1]:80=5" (Server::Starter, php-fpm), "3:tcp://…" (puma).
	variableForAddress = lazy(`^SERVER_STARTER_PORT$|^FPM_SOCKETS$|^PUMA_INHERIT_\d+$`)
	besideAddress      = lazy(`=(\d+)(?:[;,]|$)|^(\d+):`)
	// jobserver is how make(1) passes its pipe: --jobserver-auth=3,4.
	jobserver = lazy(`--jobserver-(?:auth|fds)=(\d+),(\d+)`)
	numbers   = lazy(`\d+`)
	isNumber  = lazy(`^\d+$`)
	// flockValue is an option of flock(1) whose value is the next argument.
	flockValue = lazy(`^-[a-zA-Z]*[wE]$|^--(?:wait|timeout|conflict-exit-code)$`)
	isNumbers  = lazy(`^\d+(?:[,;:]\d+)*[,;:]?$`)
)

// mostNamed bounds how many descriptors are looked for, and mostWords how much
// is kept of the words that name one: a process chooses its arguments.
const mostNamed, mostWords = 1 << 12, 120

// brief cuts words to a length that can be shown.
func brief(words string) string {
	if len(words) <= mostWords {
		return words
	}
	return strings.ToValidUTF8(words[:mostWords], "") + "…"
}

// handOvers returns the descriptors that the arguments or the environment of a
// process name, by the words that name them, and how many LISTEN_FDS passes to
// this very process (sd_listen_fds(3): LISTEN_PID must be its pid, as it sees
// itself). The environment is that of the exec; later changes do not show.
func handOvers(cmdline []string, environ []byte, pid int) (named map[int]string, activated int) {
	named = map[int]string{}
	name := func(number, words string) {
		if fd, err := strconv.Atoi(number); err == nil && named[fd] == "" && len(named) < mostNamed {
			named[fd] = words
		}
	}
	if number := lockedByNumber(cmdline); number != "" {
		name(number, "argument "+number)
	}
	for i, arg := range cmdline {
		if i == 0 {
			continue
		}
		for _, m := range namedInArgument().FindAllStringSubmatch(arg, mostNamed) {
			words := "argument " + brief(arg)
			for _, n := range numbers().FindAllString(m[1], mostNamed) {
				name(n, words)
			}
		}
		if i+1 < len(cmdline) && optionForDescriptor().MatchString(arg) {
			name(cmdline[i+1], "argument "+brief(arg+" "+cmdline[i+1]))
		}
	}
	var listenFDs, listenPID int
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		key, value, ok := strings.Cut(string(entry), "=")
		if !ok {
			continue
		}
		switch {
		case key == "LISTEN_FDS":
			listenFDs, _ = strconv.Atoi(value)
		case key == "LISTEN_PID":
			listenPID, _ = strconv.Atoi(value)
		case key == "MAKEFLAGS":
			for _, m := range jobserver().FindAllStringSubmatch(value, mostNamed) {
				name(m[1], "environment "+brief(m[0]))
				name(m[2], "environment "+brief(m[0]))
			}
		case variableForDescriptor().MatchString(key) && isNumbers().MatchString(value):
			words := "environment " + brief(key+"="+value)
			for _, n := range numbers().FindAllString(value, mostNamed) {
				name(n, words)
			}
		case variableForAddress().MatchString(key):
			words := "environment " + brief(key+"="+value)
			for _, m := range besideAddress().FindAllStringSubmatch(value, mostNamed) {
				name(m[1]+m[2], words)
			}
		}
	}
	// With the pid of another process, these are the variables of a parent
	// that was activated; without any pid, they are for whoever reads them.
	if listenFDs <= 0 || listenFDs > 1<<16 || listenPID != 0 && listenPID != pid {
		return named, 0
	}
	for fd := firstPassed; fd < firstPassed+listenFDs; fd++ {
		name(strconv.Itoa(fd), "environment LISTEN_FDS="+strconv.Itoa(listenFDs))
	}
	if listenPID == pid {
		activated = listenFDs
	}
	return named, activated
}

// lockedByNumber returns the number of the descriptor that flock(1) is to lock:
// its only argument besides the options, as in "flock -w 10 9". With another
// argument behind it the first is a file, and a command is run.
func lockedByNumber(cmdline []string) string {
	if len(cmdline) < 2 || path.Base(cmdline[0]) != "flock" {
		return ""
	}
	for i := 1; i < len(cmdline); i++ {
		switch arg := cmdline[i]; {
		case flockValue().MatchString(arg):
			i++
		case strings.HasPrefix(arg, "-"):
		case i == len(cmdline)-1 && isNumber().MatchString(arg):
			return arg
		default:
			return ""
		}
	}
	return ""
}
