package proctest

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// executeHolder is the command holder as a script calls it: it executes this
// program again, so that nothing of the runner's descriptors is left, and none
// of the runtime's.
func executeHolder(args []string) int {
	which := "supervisor"
	if len(args) > 0 && args[0] == "-bare" {
		which, args = "bare", args[1:]
	}
	err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		err = syscall.Exec("/proc/self/exe", append([]string{roleName}, args...), roleEnvironment(environment(), which))
	}
	fmt.Fprintln(os.Stderr, "holder:", err)
	return 1
}

// supervise is the main function of a supervisor.
func supervise(args []string) int {
	var s supervisor
	flags := flag.NewFlagSet(roleName, flag.ContinueOnError)
	flags.StringVar(&s.ready, "ready", "", "write the facts to this `FILE`, as KEY=VALUE lines")
	flags.StringVar(&s.directory, "directory", "", "put copies of the program there")
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "usage: holder [-ready FILE | -bare] SCRIPT…\n\n%s", Language())
	}
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if s.directory == "" {
		directory, err := copiesDirectory()
		if err != nil {
			fmt.Fprintln(os.Stderr, "holder:", err)
			return 1
		}
		defer os.RemoveAll(directory)
		s.directory = directory
	}
	s.script = strings.Join(flags.Args(), " ")
	return s.run()
}

// copiesDirectory makes a directory, which every user can enter.
func copiesDirectory() (string, error) {
	directory, err := os.MkdirTemp("", roleName)
	if err != nil {
		return "", err
	}
	return directory, os.Chmod(directory, 0o755)
}

// tell passes the answer on: to the ready file as KEY=VALUE lines (Variables),
// or ERROR=…; or as one line of JSON to the standard output.
func (s *supervisor) tell(a answer) error {
	if s.ready == "" {
		return json.NewEncoder(os.Stdout).Encode(a)
	}
	var text strings.Builder
	if a.Error != "" {
		fmt.Fprintf(&text, "ERROR=%s\n", strings.ReplaceAll(a.Error, "\n", " "))
	} else {
		for _, v := range a.Process.Variables() {
			fmt.Fprintf(&text, "%s=%s\n", v[0], v[1])
		}
	}
	// A reader sees nothing or all of it.
	temporary := s.ready + ".new"
	if err := os.WriteFile(temporary, []byte(text.String()), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, s.ready)
}

// Variables are the facts for scripts, as names and values in order:
//
//	PID, CHILD, CHILD2, …  the processes, each before its children
//	PORT, INODE, NETNS     of the first socket
//	FD                     of the first descriptor of the first process
//	NAME_PORT, NAME_INODE, NAME_NETNS, NAME_FD
//	                       of the socket or descriptor called name
func (p *Process) Variables() [][2]string {
	var variables [][2]string
	seen := map[string]bool{}
	set := func(name string, value any) {
		if !seen[name] {
			variables = append(variables, [2]string{name, fmt.Sprint(value)})
		}
		seen[name] = true
	}
	all := p.All()
	set("PID", p.PID)
	for i, q := range all[1:] {
		if i == 0 {
			set("CHILD", q.PID)
		} else {
			set(fmt.Sprintf("CHILD%d", i+1), q.PID)
		}
	}
	for _, q := range all {
		for _, s := range q.Sockets {
			for _, prefix := range []string{"", strings.ToUpper(s.Name) + "_"} {
				if s.Local.IsValid() {
					set(prefix+"PORT", s.Port())
				}
				set(prefix+"INODE", s.Inode)
				set(prefix+"NETNS", s.NetNS)
			}
		}
		for _, d := range q.Descriptors {
			set("FD", d.FD)
			set(strings.ToUpper(d.Name)+"_FD", d.FD)
			set(strings.ToUpper(d.Name)+"_INODE", d.Inode)
		}
	}
	return variables
}
