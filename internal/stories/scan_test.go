package stories

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"stray/internal/testenv"
)

// TestScanLeadsToTheCure knows neither port nor process: scan names the leak
// first, and the command that it says next frees the port.
func TestScanLeadsToTheCure(t *testing.T) {
	testenv.NeedRoot(t)
	n, _, _, process := server(t, asioServer(t))
	port, parent := n[0], n[1]
	_, child := forkRequest(t, port)
	limit := strconv.Itoa(parent)

	said := stray(t, 1, "scan", "-p", limit)
	if !strings.HasPrefix(said, fmt.Sprintf("FD102 error    pid %d ", child)) {
		t.Errorf("the leak is not what scan says first:\n%s", said)
	}
	next := regexp.MustCompile(`(?m)^ +next: stray (close \d+ --holders leaked) `).FindStringSubmatch(said)
	if next == nil {
		t.Fatalf("scan says no next command:\n%s", said)
	}
	stray(t, 0, append(strings.Fields(next[1]), "--connections", "--yes")...)
	if said := stray(t, 0, "scan", "-p", limit); regexp.MustCompile(`(?m)^FD10[24]`).MatchString(said) {
		t.Errorf("after the cure:\n%s", said)
	}
	_ = process.Kill()
	_, _ = process.Wait()
	for _, s := range who(t, port).Sockets {
		if len(s.Holders) > 0 {
			t.Errorf("still held: %+v", s)
		}
	}
	if !alive(child) {
		t.Error("the child has ended")
	}
}
