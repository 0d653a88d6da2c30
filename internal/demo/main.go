// Command demo leaks a listening socket into sleep(1), as a server does that
// lacks SOCK_CLOEXEC, and runs "stray who" on its port: demo PROGRAM.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo PROGRAM")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(stray string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, 128); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	// The descriptor crosses exec: nothing has set FD_CLOEXEC.
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		return err
	}
	defer func() {
		_ = sleep.Process.Kill()
		_ = sleep.Wait()
	}()
	// And now the server stops.
	if err := unix.Close(fd); err != nil {
		return err
	}
	port := strconv.Itoa(name.(*unix.SockaddrInet4).Port)
	fmt.Println("$ stray who", port)
	who := exec.Command(stray, "who", port)
	who.Stdout, who.Stderr = os.Stdout, os.Stderr
	return who.Run()
}
