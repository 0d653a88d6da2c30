package sockdiag

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// record replaces the recorded replies of the kernel, and what they mean:
//
//	go test ./internal/sockdiag -run TestRecordings -record
var record = flag.Bool("record", false, "record the replies of this kernel in testdata")

// recordings are the names of the recorded inet tables; the unix table is one
// more.
var recordings = []string{"tcp", "tcp6", "udp", "udplite6", "mptcp"}

var recordedRequests = map[string]InetRequest{
	"tcp":      {Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP, States: AllStates},
	"tcp6":     {Family: unix.AF_INET6, Protocol: unix.IPPROTO_TCP, States: AllStates},
	"udp":      {Family: unix.AF_INET, Protocol: unix.IPPROTO_UDP, States: AllStates},
	"udplite6": {Family: unix.AF_INET6, Protocol: unix.IPPROTO_UDPLITE, States: AllStates},
	"mptcp":    {Family: unix.AF_INET, Protocol: unix.IPPROTO_MPTCP, States: AllStates},
}

// Real replies are read as they were when they were recorded, and it makes no
// difference how the kernel cuts them into datagrams.
func TestRecordings(t *testing.T) {
	if *record {
		makeRecordings(t)
	}
	for _, name := range append([]string{"unix"}, recordings...) {
		t.Run(name, func(t *testing.T) {
			recorded := readDatagrams(t, name)
			want, err := os.ReadFile("testdata/" + name + ".json")
			if err != nil && !*record {
				t.Fatal(err)
			}
			got := readRecording(t, name, recorded)
			if *record {
				if err := os.WriteFile("testdata/"+name+".json", []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("rows\n%swant\n%s", got, want)
			}
			all := messages(recorded)
			for size := 1; size < len(all); size++ {
				var cut [][]byte
				for part := range slices.Chunk(all, size) {
					cut = append(cut, slices.Concat(part...))
				}
				if again := readRecording(t, name, cut); again != got {
					t.Errorf("with %d messages in a datagram: rows\n%s", size, again)
				}
			}
		})
	}
}

// readRecording replays datagrams and returns the rows, one on a line.
func readRecording(t *testing.T, name string, datagrams [][]byte) string {
	t.Helper()
	c, _ := connTo(datagrams)
	if name == "unix" {
		rows, err := c.Unix()
		return lines(t, rows, err)
	}
	rows, err := c.Inet(recordedRequests[name])
	return lines(t, rows, err)
}

// lines writes a row on each line.
func lines[T any](t *testing.T, rows []T, err error) string {
	t.Helper()
	var b strings.Builder
	e := json.NewEncoder(&b)
	for _, row := range rows {
		if err == nil {
			err = e.Encode(row)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// recorder keeps what a Transport receives.
type recorder struct {
	Transport
	datagrams [][]byte
}

func (r *recorder) Receive(buf []byte) (int, error) {
	n, err := r.Transport.Receive(buf)
	if err == nil {
		r.datagrams = append(r.datagrams, slices.Clone(buf[:n]))
	}
	return n, err
}

// makeRecordings asks the kernel about a namespace with sockets of every state.
func makeRecordings(t *testing.T) {
	testenv.NeedNetNS(t)
	path := filepath.Join(t.TempDir(), "s")
	nsfd := newNamespace(t, func(s *scene) {
		for _, network := range []struct {
			domain  int
			address string
		}{{unix.AF_INET, "127.0.0.1:%d"}, {unix.AF_INET6, "[::1]:%d"}} {
			address := func(port int) unix.Sockaddr { return at(fmt.Sprintf(network.address, port)) }
			web := s.listen(network.domain, 0, address(18080))
			s.connect(web, address(40001))
			s.accept(web)
			s.timeWait(web, address(40002))
			half := s.connect(web, address(40003))
			s.accept(web)
			s.try("shutdown", func() error { return unix.Shutdown(half, unix.SHUT_WR) })
			s.connect(web, address(40004)) // stays in the backlog
			s.socket(network.domain, unix.SOCK_STREAM, 0, address(18081))
			s.socket(network.domain, unix.SOCK_DGRAM, 0, address(53))
			s.socket(network.domain, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, address(54))
			s.listen(network.domain, unix.IPPROTO_MPTCP, address(18082))
		}
		s.listen(unix.AF_INET6, 0, at("[::]:18083"), v6only(1))
		s.listen(unix.AF_INET6, 0, at("[::]:18084"), v6only(0))
		local := s.listen(unix.AF_UNIX, 0, &unix.SockaddrUnix{Name: path})
		s.connect(local, nil)
		s.accept(local)
		s.socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0, &unix.SockaddrUnix{Name: "@abstract"})
	})
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	comment := "recorded from Linux " + unix.ByteSliceToString(name.Release[:])
	for _, table := range append([]string{"unix"}, recordings...) {
		r := &recorder{Transport: kernelIn(t, nsfd).transport}
		c := NewConn(r)
		var err error
		if table == "unix" {
			_, err = c.Unix()
		} else {
			_, err = c.Inet(recordedRequests[table])
		}
		if err != nil {
			t.Fatal(err)
		}
		writeDatagrams(t, table, comment+": the "+table+" table of a namespace of its own", r.datagrams)
	}
}
