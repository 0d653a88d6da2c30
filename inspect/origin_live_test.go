package inspect_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/proctest"
	"stray/internal/testenv"
)

// The stories of "leak or right". Each begins with the process a, which the
// script as a whole describes; b, c … are its children as they are written.
var originStories = map[string]struct {
	script string
	want   string
}{
	"opened": {
		`listen tcp4 127.0.0.1:0 cloexec=1 ; serve accept`,
		`a: opened, serves`,
	},
	"opened, and the next exec leaks it": {
		`listen tcp4 127.0.0.1:0 ; serve accept`,
		`a: opened, serves
		FD103 note a`,
	},
	"a worker in each way to serve": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		fork { serve accept web } ; fork { serve epoll web } ; fork { serve poll web } ; fork { serve select web }
		serve accept web`,
		`a: opened, serves
		b: intended from a, certain, serves
		c: intended from a, certain, serves
		d: intended from a, certain, serves
		e: intended from a, certain, serves`,
	},
	"idle copies beside a worker": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		fork { serve accept web } ; fork { serve pause } ; fork { serve sleep } ; fork { serve futex }
		serve accept web`,
		`a: opened, serves
		b: intended from a, certain, serves
		c: fork from a, certain, idle, leak
		d: fork from a, certain, idle, leak
		e: fork from a, certain, idle, leak
		FD102 error c
		FD102 error d
		FD102 error e`,
	},
	"a master that never accepts, and its workers": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		fork { serve accept web } ; fork { serve epoll web }
		serve wait`,
		`a: opened, idle
		b: intended from a, certain, serves
		c: intended from a, certain, serves`,
	},
	"a master, its keeper in between, and the workers": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		fork { fork { serve accept web } ; serve wait }
		serve pause`,
		`a: opened, idle
		b: intended from a, certain, idle
		c: intended from b, certain, serves`,
	},
	"a master in pause, and an idle copy alone": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		fork { serve sleep }
		serve pause`,
		`a: opened, idle
		b: fork from a, certain, idle, leak
		FD102 warning b`,
	},
	"an inherited epoll that lists the listener is no use of it": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		epoll web name=loop
		fork { serve pause } ; fork { serve epoll loop }
		serve epoll loop`,
		`a: opened, serves
		b: fork from a, certain, idle, leak
		c: intended from a, certain, serves
		FD102 error b`,
	},
	"an epoll inside of another": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		epoll web name=inner
		epoll inner name=outer
		fork { serve epoll outer }
		serve epoll outer`,
		`a: opened, serves
		b: intended from a, certain, serves`,
	},
	"another listener's worker": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		listen tcp4 127.0.0.1:0 cloexec=1 name=other
		fork { serve accept other } ; fork { serve poll other }
		serve accept web`,
		`a: opened, serves
		b: fork from a, certain, elsewhere
		c: fork from a, certain, elsewhere`,
	},
	"busy copies are not accused": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		fork { serve busy } ; fork { serve busy }
		serve accept web`,
		`a: opened, serves
		b: fork from a, certain, unclear
		c: fork from a, certain, unclear`,
	},
	"a busy server": {
		`listen tcp4 127.0.0.1:0 cloexec=1 ; serve busy`,
		`a: opened, unclear`,
	},
	"a busy server and its idle copy": {
		`listen tcp4 127.0.0.1:0 cloexec=1 ; fork { serve sleep } ; serve busy`,
		`a: opened, unclear
		b: fork from a, certain, idle, leak
		FD102 warning b`,
	},
	"lone servers": {
		`listen tcp4 127.0.0.1:0 cloexec=1 ; serve poll`,
		`a: opened, serves`,
	},
	"lone server in select": {
		`listen tcp4 127.0.0.1:0 cloexec=1 ; serve select`,
		`a: opened, serves`,
	},
	"a pool of threads, one of which accepts": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		thread { serve accept web } ; thread { serve futex } ; thread { serve sleep }
		serve futex`,
		`a: opened, serves`,
	},
	"a lone server that does not serve now": {
		`listen tcp4 127.0.0.1:0 cloexec=1 ; serve sleep`,
		`a: opened, idle`,
	},
	"a lone server that does not serve now, with an inheritable listener": {
		`listen tcp4 127.0.0.1:0 ; serve sleep`,
		`a: unknown, idle`,
	},
	"the same program executed anew, which serves": {
		`listen tcp4 127.0.0.1:0 name=web
		exec { serve accept web } ; exec { serve epoll web }
		serve accept web`,
		`a: opened, serves
		b: intended from a, serves
		c: intended from a, serves`,
	},
	"the same program executed anew, which idles": {
		`listen tcp4 127.0.0.1:0 name=web
		exec { serve sleep }
		serve accept web`,
		`a: opened, serves
		b: exec from a, certain, idle, leak
		FD101 error b
		FD103 warning a`,
	},
	"the same program executed anew, about something else": {
		`listen tcp4 127.0.0.1:0 name=web
		exec { listen tcp4 127.0.0.1:0 cloexec=1 name=own ; serve epoll own }
		serve accept web`,
		`a: opened, serves
		b: exec from a, certain, elsewhere
		FD103 note a`,
	},
	"another program, about something else": {
		`listen tcp4 127.0.0.1:0 name=web
		exec as=helper { listen tcp4 127.0.0.1:0 cloexec=1 name=own ; serve epoll own }
		serve accept web`,
		`a: opened, serves
		b: exec from a, certain, elsewhere, leak
		FD101 error b
		FD103 warning a`,
	},
	"another program that serves": {
		`listen tcp4 127.0.0.1:0 name=web
		exec as=worker { serve accept web }
		serve pause`,
		`a: opened, idle
		b: intended from a, serves`,
	},
	"another program that is busy is not accused": {
		`listen tcp4 127.0.0.1:0 name=web
		exec as=worker { serve busy }
		serve accept web`,
		`a: opened, serves
		b: exec from a, certain, unclear
		FD103 note a`,
	},
	"an executed keeper of workers": {
		`listen tcp4 127.0.0.1:0 name=web
		exec as=keeper { fork { serve accept web } ; serve wait }
		serve pause`,
		`a: opened, idle
		b: intended from a, idle
		c: intended from b, certain, serves`,
	},
	"sleep carries it while the parent serves": {
		`listen tcp4 127.0.0.1:0 name=web
		exec sleep 60
		serve accept web`,
		`a: opened, serves
		b: exec from a, certain, idle, leak
		FD101 error b
		FD103 warning a`,
	},
	"sleep carries it under another number": {
		`listen tcp4 127.0.0.1:0 name=web cloexec=1 fd=9
		exec pass=web sleep 60
		serve accept web`,
		`a: opened, serves
		b: exec from a, idle, leak
		FD101 error b`,
	},
	"sleep carries it after the parent has closed its own": {
		`listen tcp4 127.0.0.1:0 name=web
		exec sleep 60
		close web
		serve pause`,
		`b: exec, idle, leak
		FD101 error b`,
	},
	"sleep carries it after the parent has died": {
		`exec { session ; listen tcp4 127.0.0.1:0 name=web ; exec sleep 60 ; exit }`,
		`c: exec, idle, leak, opener exited
		FD101 error c`,
	},
	"sleep and a copy are left by a server that has died": {
		`exec { session ; listen tcp4 127.0.0.1:0 name=web ; fork { serve pause } ; exec sleep 60 ; exit }`,
		`c: fork, idle, leak, opener exited
		d: exec, idle, leak, opener exited
		FD101 error d
		FD102 error c`,
	},
	"a copy left by a server that has died goes on serving": {
		`exec { session ; listen tcp4 127.0.0.1:0 name=web cloexec=1 ; fork { serve accept web } ; fork { serve accept web } ; fork { serve pause } ; exit }`,
		`c: opened, serves
		d: intended, certain, serves
		e: fork, certain, idle, leak
		FD102 error e`,
	},
	"a copy whose server has closed its own listener": {
		`listen tcp4 127.0.0.1:0 name=web cloexec=1
		fork { serve sleep }
		close web
		serve pause`,
		`b: unknown, idle`,
	},
	"bound, and carried by sleep": {
		`bind tcp4 127.0.0.1:0 name=port
		exec sleep 60
		serve pause`,
		`a: opened, idle
		b: exec from a, certain, idle, leak
		FD101 error b`,
	},
	"bound, and copied": {
		`bind tcp4 127.0.0.1:0 name=port cloexec=1
		fork { serve sleep }
		serve pause`,
		`a: opened, idle
		b: fork from a, certain, idle`,
	},
	"UDP with workers and an idle copy": {
		`bind udp4 127.0.0.1:0 name=dns cloexec=1
		fork { serve recv dns } ; fork { serve epoll dns } ; fork { serve sleep }
		serve wait`,
		`a: opened, idle
		b: intended from a, certain, serves
		c: intended from a, certain, serves
		d: fork from a, certain, idle, leak
		FD102 error d`,
	},
	"a unix listener tells who listens": {
		`listen unix NAME cloexec=1 name=web
		fork { serve accept web } ; fork { serve pause }
		serve accept web`,
		`a: opened, certain, serves
		b: intended from a, certain, serves
		c: fork from a, certain, idle, leak
		FD102 error c`,
	},
	"a unix listener whose opener has died": {
		`exec { session ; listen unix NAME cloexec=1 name=web ; fork { serve pause } ; exit }`,
		`c: fork, idle, leak, opener exited
		FD102 error c`,
	},
	"a unix listener whose opener has let go": {
		`listen unix NAME cloexec=1 name=web
		fork { serve sleep }
		close web
		serve pause`,
		`b: fork, idle, leak
		FD102 error b`,
	},
	"a unix listener in a program that could listen, and did not": {
		`listen unix NAME name=web
		exec as=helper { serve sleep }
		close web
		serve pause`,
		`b: exec, idle, leak
		FD101 error b`,
	},
	"a copy of an activated service": {
		`exec LISTEN_FDS=1 LISTEN_PID=self as=service { listen tcp4 127.0.0.1:0 fd=3 cloexec=1 name=web ; fork { serve pause } ; serve accept web }`,
		`b: intended, certain, serves
		c: fork from b, certain, idle, leak
		FD102 error c`,
	},
	"a copy of a program with a named descriptor": {
		`exec SERVER_FD=7 as=service { listen tcp4 127.0.0.1:0 fd=7 cloexec=1 name=web ; fork { serve pause } ; serve accept web }`,
		`b: intended, serves
		c: fork from b, certain, idle, leak
		FD102 error c`,
	},
	"socket activation": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		exec LISTEN_FDS=1 LISTEN_PID=self pass=web as=service { serve sleep }
		serve pause`,
		`a: opened, idle
		b: intended from a, certain, idle`,
	},
	"socket activation of somebody else": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		exec LISTEN_FDS=1 LISTEN_PID=1 pass=web as=child { serve sleep }
		serve accept web`,
		`a: opened, serves
		b: exec from a, certain, idle, leak
		FD101 error b`,
	},
	"a child of an activated service": {
		`exec LISTEN_FDS=1 LISTEN_PID=self as=service { listen tcp4 127.0.0.1:0 fd=3 name=web ; exec LISTEN_FDS=1 LISTEN_PID=1 sleep 60 ; serve accept web }`,
		`b: intended, certain, serves
		c: exec from b, certain, idle, leak
		FD101 error c`,
	},
	"named in an argument": {
		`listen tcp4 127.0.0.1:0 name=web fd=7
		exec sh -c "read line < FIFO" sh --fd 7
		serve pause`,
		`a: opened, idle
		b: intended from a, idle`,
	},
	"named in the environment": {
		`listen tcp4 127.0.0.1:0 name=web fd=7
		exec SERVER_FD=7 as=worker { serve sleep }
		serve pause`,
		`a: opened, idle
		b: intended from a, idle`,
	},
	"taken over: FD_CLOEXEC set after the exec": {
		`listen tcp4 127.0.0.1:0 name=web
		exec as=worker { cloexec web on ; serve sleep }
		serve pause`,
		`a: opened, idle
		b: intended from a, idle`,
	},
	"a stopped server": {
		`exec { listen tcp4 127.0.0.1:0 cloexec=1 ; stop }`,
		`b: opened, unclear`,
	},
	"held in a message": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		scm web`,
		`a: received, certain, idle
		FD401 note a`,
	},
	"held in a ring": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		uring web
		fork { serve sleep }
		serve pause`,
		`a: opened, unclear
		b: fork from a, certain, unclear
		FD401 note a`,
	},
	"one table for several processes": {
		`listen tcp4 127.0.0.1:0 cloexec=1 name=web
		fork share=1 { serve accept web }
		fork { serve sleep }
		serve pause`,
		`a: opened, serves
		b: opened, serves
		c: fork from a, certain, idle, leak
		FD102 error c`,
	},
}

func TestOrigins(t *testing.T) {
	for name, story := range originStories {
		t.Run(name, func(t *testing.T) {
			role := startStory(t, story.script)
			s := role.Socket("")
			target := s.Local.String()
			if s.Path != "" {
				target = "unix:" + s.Path
			}
			roles(role).check(t, target, s.Inode, strings.Split(story.want, "\n")...)
		})
	}
}

// startStory plays a script in which FIFO stands for a FIFO that nobody writes,
// and NAME for a name of a unix socket.
func startStory(t *testing.T, script string) *proctest.Process {
	t.Helper()
	if strings.Contains(script, "FIFO") {
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		script = strings.ReplaceAll(script, "FIFO", fifo)
	}
	name := "@" + filepath.Base(t.TempDir()) + strconv.Itoa(os.Getpid())
	script = strings.ReplaceAll(script, "NAME", name)
	if strings.Contains(script, "uring") {
		testenv.NeedIOURing(t)
	}
	return proctest.Start(t, script)
}
