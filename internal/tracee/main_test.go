package tracee

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

func TestMain(m *testing.M) {
	testPoint = failAt
	HelperMain()
	playRole()
	// Nearly all tests wait for something most of the time.
	flag.Set("test.parallel", "16")
	flag.Parse()
	code := testenv.Checked(m).Run()
	removePrograms()
	os.Exit(code)
}

// script is the plan of the one operation with which most tests are made: steps
// taken one after the other in the helper, with the target stopped.
type script struct {
	Steps []step
	// Fail has the helper panic at a point between the parts of a call.
	Fail string
}

type step struct {
	Do string
	A  int
	B  int
	C  int
}

var runScript = Register("test-script", func(s *Stopped, p script) (values []int, err error) {
	failing = p.Fail
	for _, step := range p.Steps {
		value, err := s.take(step)
		values = append(values, value)
		if err != nil {
			return values, fmt.Errorf("step %v: %w", step, err)
		}
	}
	return values, nil
})

func (s *Stopped) take(step step) (int, error) {
	switch step.Do {
	case "fcntl":
		return s.Fcntl(step.A, step.B, step.C)
	case "socket":
		return s.Socket(step.A, step.B, step.C)
	case "shutdown":
		return 0, s.Shutdown(step.A, step.B)
	case "dup3":
		return 0, s.Dup3(step.A, step.B, step.C)
	case "close":
		return 0, s.Close(step.A)
	case "openpath":
		return s.OpenPath()
	case "probe": // two calls that leave things as they were
		fd, err := s.Fcntl(step.A, unix.F_DUPFD_CLOEXEC, 100)
		if err != nil {
			return -1, err
		}
		return fd, s.Close(fd)
	case "park": // as close does it
		fd, err := s.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return -1, err
		}
		if err := s.Dup3(fd, step.A, unix.O_CLOEXEC); err != nil {
			return -1, err
		}
		return fd, s.Close(fd)
	case "kill":
		return 0, unix.Kill(step.A, unix.Signal(step.B))
	case "tgkill":
		return 0, unix.Tgkill(step.A, step.B, unix.Signal(step.C))
	case "hold":
		time.Sleep(time.Duration(step.A) * time.Millisecond)
		return 0, nil
	case "hold-on": // until the caller gives up
		for !s.engine.waiter.hungUp() {
			time.Sleep(time.Millisecond)
		}
		return 0, nil
	case "raise":
		return 0, unix.Kill(os.Getpid(), unix.Signal(step.A))
	case "panic":
		panic("as the script says")
	case "die": // the helper alone
		return 0, unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	return -1, fmt.Errorf("no such step: %q", step.Do)
}

// failing is the point at which failAt panics, in a helper.
var failing string

func failAt(point string) {
	if point == failing {
		failing = ""
		panic("fault at " + point)
	}
}

// probe is the script that most tests run.
var probe = script{Steps: []step{{Do: "probe"}}}
