package tracee

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
)

// playing returns a command that runs this program in a role, with a number.
func playing(role string, number int) *exec.Cmd {
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), "STRAY_TRACEE_ROLE="+role, "STRAY_TRACEE_NUMBER="+strconv.Itoa(number))
	return command
}

// playRole does what a process started by playing does, and ends it.
func playRole() {
	number, _ := strconv.Atoi(os.Getenv("STRAY_TRACEE_NUMBER"))
	var err error
	switch role := os.Getenv("STRAY_TRACEE_ROLE"); role {
	case "":
		return
	case "prober":
		err = probePID(number)
	case "holder":
		err = hold(number)
	case "follow-creates":
		err = followCreates(os.Getenv("STRAY_TRACEE_CREATES"))
	case "follow-tree":
		err = followTree()
	case "http-server":
		err = serveHTTP()
	default:
		err = fmt.Errorf("no such role: %q", role)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(0)
}

// probePID runs the probe, and says why it was refused.
func probePID(pid int) error {
	target, err := Identify(pid)
	if err != nil {
		return err
	}
	_, _, err = runScript.Do(context.Background(), target, Options{}, probe)
	if refusal, ok := err.(*Refusal); ok {
		return fmt.Errorf("%s: %w (needs %s)", refusal.Reason, refusal, refusal.Needs)
	}
	return err
}

// hold holds the process for as long as it may.
func hold(pid int) error {
	target, err := Identify(pid)
	if err != nil {
		return err
	}
	_, _, err = runScript.Do(context.Background(), target, Options{}, script{Steps: []step{{Do: "probe"}, {Do: "hold", A: 1000}, {Do: "probe"}}})
	return err
}

// serveHTTP answers every request with its path.
func serveHTTP() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("ready port", listener.Addr().(*net.TCPAddr).Port)
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path)
	}))
}
