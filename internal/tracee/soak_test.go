package tracee

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"stray/internal/testenv"
)

// A soakServer is a program that serves while calls are made in it.
type soakServer struct {
	name    string
	start   func(testing.TB) *runningTarget
	request func(address string, fresh bool) requester
}

// requester makes one request after the other, and fails if one fails.
type requester interface {
	request(number int) error
	close()
}

var soakServers = []soakServer{
	{"c-epoll", func(t testing.TB) *runningTarget {
		return start(t, program(t, "epoll_server"))
	}, newEchoRequester},
	{"c-epoll-static", func(t testing.TB) *runningTarget {
		return start(t, program(t, "epoll_server", "-static"))
	}, newEchoRequester},
	{"go-http", func(t testing.TB) *runningTarget {
		return startCommand(t, playing("http-server", 0))
	}, newHTTPRequester},
	{"python-threads", func(t testing.TB) *runningTarget {
		return start(t, testenv.NeedTool(t, "python3", "python3"), "testdata/server.py", "threads")
	}, newHTTPRequester},
	{"python-asyncio", func(t testing.TB) *runningTarget {
		return start(t, testenv.NeedTool(t, "python3", "python3"), "testdata/server.py", "asyncio")
	}, newHTTPRequester},
	{"node", func(t testing.TB) *runningTarget {
		return start(t, testenv.NeedTool(t, "node", "nodejs"), "testdata/server.js")
	}, newHTTPRequester},
}

// TestSoak is the small form of BenchmarkSoak.
func TestSoak(t *testing.T) {
	for _, server := range soakServers {
		t.Run(server.name, func(t *testing.T) {
			soak(t, server, 30)
		})
	}
}

// BenchmarkSoak makes two calls at a time in servers under load, of which no
// request may fail. A full soak is
//
//	go test -run '^$' -bench Soak -benchtime 10000x ./internal/tracee
func BenchmarkSoak(b *testing.B) {
	for _, server := range soakServers {
		b.Run(server.name, func(b *testing.B) {
			requests, held := soak(b, server, b.N)
			b.ReportMetric(0, "ns/op") // it says nothing
			b.ReportMetric(float64(requests), "requests")
			b.ReportMetric(float64(held[len(held)/2].Microseconds()), "µs-held-p50")
			b.ReportMetric(float64(held[len(held)*99/100].Microseconds()), "µs-held-p99")
		})
	}
}

// soak has a server serve while it is stopped and calls are made in it, as often
// as given, and returns how many requests it has served and for how long it was
// held each time, sorted.
func soak(t testing.TB, server soakServer, injections int) (requests int64, held []time.Duration) {
	t.Helper()
	r := server.start(t)
	address := fmt.Sprintf("127.0.0.1:%d", r.value("port"))
	var served atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for client := range 4 {
		clients.Go(func() {
			// Every other client takes a new connection for each request.
			requester := server.request(address, client%2 == 1)
			defer requester.close()
			for number := 0; ctx.Err() == nil; number++ {
				if err := requester.request(number); err != nil {
					t.Errorf("request %d of client %d: %v", number, client, err)
					return
				}
				served.Add(1)
			}
		})
	}
	target := r.target()
	if b, ok := t.(*testing.B); ok {
		b.ResetTimer()
	}
	for range injections {
		before := served.Load()
		_, report, err := runScript.Do(ctx, target, Options{}, probe)
		if err != nil {
			t.Errorf("%v (report %+v)", err, report)
			break
		}
		held = append(held, report.Held)
		for served.Load() == before && !t.Failed() {
			time.Sleep(20 * time.Microsecond)
		}
	}
	cancel()
	clients.Wait()
	slices.Sort(held)
	t.Logf("%d requests during %d stops of %v (p50), %v (p99), %v (max)",
		served.Load(), injections, held[len(held)/2], held[len(held)*99/100], held[len(held)-1])
	return served.Load(), held
}

// echoRequester sends lines to an echo server.
type echoRequester struct {
	address string
	fresh   bool
	c       net.Conn
}

func newEchoRequester(address string, fresh bool) requester {
	return &echoRequester{address: address, fresh: fresh}
}

func (e *echoRequester) request(number int) error {
	if e.fresh || e.c == nil {
		e.close()
		c, err := net.Dial("tcp", e.address)
		if err != nil {
			return err
		}
		e.c = c
	}
	e.c.SetDeadline(time.Now().Add(20 * time.Second))
	sent := fmt.Appendf(nil, "%060d\n", number)
	if _, err := e.c.Write(sent); err != nil {
		return err
	}
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(e.c, got); err != nil {
		return err
	}
	if !bytes.Equal(got, sent) {
		return fmt.Errorf("got %q for %q", got, sent)
	}
	return nil
}

func (e *echoRequester) close() {
	if e.c != nil {
		e.c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: there are only so many ports
		e.c.Close()
	}
}

// httpRequester gets paths of a server that answers with the path.
type httpRequester struct {
	address string
	client  *http.Client
}

func newHTTPRequester(address string, fresh bool) requester {
	dialer := &net.Dialer{}
	return &httpRequester{address, &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: fresh,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err == nil && fresh {
				c.(*net.TCPConn).SetLinger(0)
			}
			return c, err
		},
	}}}
}

func (h *httpRequester) request(number int) error {
	path := fmt.Sprintf("/%d", number)
	response, err := h.client.Get("http://" + h.address + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || string(body) != path {
		return fmt.Errorf("got status %s, body %q for %s", response.Status, body, path)
	}
	return nil
}

func (h *httpRequester) close() { h.client.CloseIdleConnections() }

// BenchmarkStop measures for how long a program of one thread that sleeps is
// held: with nothing done, for one call, and for parking a descriptor.
func BenchmarkStop(b *testing.B) {
	for _, bench := range []struct {
		name string
		script
	}{
		{"nothing", script{}},
		{"one-call", script{Steps: []step{{Do: "fcntl", A: 0, B: 1}}}},
		{"park", script{Steps: []step{{Do: "park", A: 0}}}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			command := exec.Command("sleep", "3600")
			if err := command.Start(); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				command.Process.Kill()
				command.Wait()
			})
			target, err := Identify(command.Process.Pid)
			if err != nil {
				b.Fatal(err)
			}
			var held, window []time.Duration
			for b.Loop() {
				_, report, err := runScript.Do(b.Context(), target, Options{}, bench.script)
				if err != nil {
					b.Fatal(err)
				}
				held, window = append(held, report.Held), append(window, report.Window)
			}
			slices.Sort(held)
			slices.Sort(window)
			b.ReportMetric(float64(held[len(held)/2].Nanoseconds())/1e3, "µs-held-p50")
			b.ReportMetric(float64(held[len(held)*99/100].Nanoseconds())/1e3, "µs-held-p99")
			b.ReportMetric(float64(window[len(window)/2].Nanoseconds())/1e3, "µs-window-p50")
		})
	}
}
