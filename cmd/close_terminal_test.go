package cmd_test

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"stray/internal/testenv"
	"stray/internal/wiretest"
)

// What has recovered while somebody thought about the plan is left alone.
func TestCloseByRuleLooksAgain(t *testing.T) {
	testenv.NeedRoot(t)
	server, client := wiretest.TalkHere(t, "server"), wiretest.TalkHere(t, "client")
	listener, address := server.Listen("127.0.0.1", 16)
	stall := func() (serverFD, fd, unread int) {
		fd, _ = client.Dial(address)
		serverFD = server.Accept(listener)
		return serverFD, fd, client.Do("write", fd, 64<<20)[0]
	}
	serverFD, _, unread := stall()
	_, kept, _ := stall()

	argv := []string{"close", "--rule", "FD303", "--stalled", "0s", "-p", strconv.Itoa(client.PID)}
	steps := regexp.MustCompile(`(?m)^plan: `)
	// The kernel finds the windows closed in its own time.
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		plan, err := exec.Command(strayProgram(t), append(argv, "--dry-run")...).CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if len(steps.FindAll(plan, -1)) == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("two connections do not come into the plan:\n%s", plan)
		}
	}
	s := openTerminal(t, append([]string{strayProgram(t)}, argv...)...)
	s.await("proceed? [y/N]")
	for unread > 0 {
		unread -= server.Do("read", serverFD, 64<<20)[0]
	}
	s.typed("y\n")
	s.await("FD303 speaks of 1 of them no more: left as they are")
	s.await(fmt.Sprintf("done: pid %d fd %d parked and verified", client.PID, kept))
	if code := s.ends(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
}

// A service file wants silence where nothing has leaked; a person wants an answer.
func TestCloseAnswersAPerson(t *testing.T) {
	s := openTerminal(t, strayProgram(t), "close", "1", "--holders", "leaked")
	s.await("nothing to do: no holder of 1 is a leaked copy")
	if code := s.ends(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
}
