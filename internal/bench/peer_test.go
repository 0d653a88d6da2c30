package bench

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// command is one contestant of a row.
type command struct {
	name string
	argv []string
	// prints says what it tells, for a fair reading of the ratios.
	prints string
	// pids returns the holders that its output names; nil when it names none.
	pids func(stdout string) ([]int, error)
}

// whoPeers are the other ways to ask who holds a TCP port.
func whoPeers(port int) []command {
	p := strconv.Itoa(port)
	return []command{
		{
			name: "ss", argv: []string{"ss", "-Hltnp", "sport = :" + p},
			prints: "address, backlog, and command, pid, fd of each holder", pids: pidsAfterEquals,
		},
		{
			name: "fuser", argv: []string{"fuser", p + "/tcp"},
			prints: "pids", pids: pidsInColumn(-1),
		},
		{
			name: "lsof", argv: []string{"lsof", "-nP", "-iTCP:" + p},
			prints: "command, pid, user, fd, address, state of each holder", pids: pidsInColumn(1),
		},
		lsfd(p),
	}
}

// lsfd filters by port from util-linux 2.39 on; before, it can but list the TCP
// sockets of everybody, which costs it the same.
func lsfd(port string) command {
	filter := "TCP.LPORT == " + port
	c := command{
		name: "lsfd", argv: []string{"lsfd", "-n", "-o", "PID,ASSOC,COMMAND,NAME", "-Q", filter},
		prints: "pid, fd, command, name of each holder", pids: pidsInColumn(0),
	}
	self := strconv.Itoa(os.Getpid())
	if exec.Command("lsfd", "-p", self, "-Q", filter).Run() != nil {
		c.argv[len(c.argv)-1] = `PROTONAME == "TCP"`
		c.prints, c.pids = "all TCP sockets; does not know ports", nil
	}
	return c
}

var pidAfterEquals = regexp.MustCompile(`pid=(\d+)`)

// pidsAfterEquals reads the output of ss.
func pidsAfterEquals(stdout string) ([]int, error) {
	var words []string
	for _, match := range pidAfterEquals.FindAllStringSubmatch(stdout, -1) {
		words = append(words, match[1])
	}
	return numbers(words)
}

// pidsInColumn reads a table of which the column, counted from 0, is a pid;
// -1 is a list of pids. A line that begins with "COMMAND" is a heading.
func pidsInColumn(column int) func(stdout string) ([]int, error) {
	return func(stdout string) ([]int, error) {
		var words []string
		for line := range strings.Lines(stdout) {
			fields := strings.Fields(line)
			switch {
			case column < 0:
				words = append(words, fields...)
			case len(fields) > 0 && fields[0] == "COMMAND":
			case column < len(fields):
				words = append(words, fields[column])
			default:
				return nil, fmt.Errorf("no column %d in %q", column, line)
			}
		}
		return numbers(words)
	}
}

// numbers returns the numbers sorted, each once.
func numbers(words []string) ([]int, error) {
	set := []int{}
	for _, word := range words {
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		set = append(set, n)
	}
	slices.Sort(set)
	return slices.Compact(set), nil
}

func TestPIDs(t *testing.T) {
	for _, test := range []struct {
		name   string
		pids   func(string) ([]int, error)
		stdout string
		want   []int
	}{
		{"ss", pidsAfterEquals, `LISTEN 0 16 127.0.0.1:18080 0.0.0.0:* users:(("exe",pid=18,fd=4),("exe",pid=7,fd=4),("exe",pid=7,fd=9))`, []int{7, 18}},
		{"ss, free", pidsAfterEquals, "", []int{}},
		{"fuser", pidsInColumn(-1), "     6     7    14", []int{6, 7, 14}},
		{"lsof", pidsInColumn(1), "COMMAND  PID USER   FD   TYPE DEVICE\nexe 6019 root    3u  IPv4   9936\n", []int{6019}},
		{"stray", pidsInColumn(-1), "6\n7\n8\n", []int{6, 7, 8}},
	} {
		got, err := test.pids(test.stdout)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
	if got, err := pidsInColumn(1)("one\n"); err == nil {
		t.Errorf("a line without the column gave %v", got)
	}
}
