package bench

import (
	"flag"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// heldPort is the TCP port of 127.0.0.1 that the holders of every world listen
// on, and freePort one that nobody uses.
const (
	heldPort = 18080
	freePort = 18081
)

// holderCount is the number of processes that share the listener.
const holderCount = 3

// nobody is the user id of the unprivileged.
const nobody = 65534

// scene says what a world is made of.
type scene struct {
	Name      string
	Processes int
	// Descriptors is the number that each process opens, beside the standard
	// three and the listener.
	Descriptors int
	// Threads is the number of each process: 1 makes light processes, which
	// are forks that never exec; more makes Go processes, which add a few
	// threads of the runtime's own.
	Threads int
	// Connections makes nearly all of the descriptors connections of TCP, with
	// both of their ends.
	Connections bool
}

// mix is what each process opens.
func (s scene) mix() mix {
	if !s.Connections {
		return mixOf(s.Descriptors)
	}
	const listeners = 20 // each port has so many ephemeral ports to be reached from
	return mix{listeners: listeners, conns: (s.Descriptors - listeners) &^ 1}
}

var scenes = []scene{
	{Name: "small", Processes: 50, Descriptors: 20, Threads: 1},
	{Name: "medium", Processes: 500, Descriptors: 100, Threads: 1},
	{Name: "large", Processes: 2000, Descriptors: 250, Threads: 1},
	{Name: "fat", Processes: 25, Descriptors: fatDescriptors(), Threads: 1},
	{Name: "threads", Processes: 50, Descriptors: 100, Threads: 20},
	{Name: "connections", Processes: 1 + 100_000/fatDescriptors(), Descriptors: fatDescriptors(), Threads: 1, Connections: true},
}

// everywhere lists the names of the scenes with descriptors of every kind.
func everywhere() []string {
	var names []string
	for _, s := range scenes {
		if !s.Connections {
			names = append(names, s.Name)
		}
	}
	return names
}

func findScene(name string) (scene, bool) {
	i := slices.IndexFunc(scenes, func(s scene) bool { return s.Name == name })
	if i < 0 {
		return scene{}, false
	}
	return scenes[i], true
}

// fatDescriptors is 19,900, or as many as the hard RLIMIT_NOFILE allows.
func fatDescriptors() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1000
	}
	return int(min(19_900, limit.Max-100))
}

// selected reports whether the world of that name is to be built: when
// STRAY_BENCH_WORLDS or -bench names it, or it is a quick one and
// STRAY_BENCH_WORLDS is not set.
func selected(name string) bool {
	if f := flag.Lookup("test.bench"); f != nil && strings.Contains(f.Value.String(), name) {
		return true
	}
	list, ok := os.LookupEnv("STRAY_BENCH_WORLDS")
	if !ok {
		return name == "small" || name == "threads"
	}
	return list == "all" || slices.Contains(strings.Split(list, ","), name)
}
