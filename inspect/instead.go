package inspect

import "stray/fdscan"

// StopInstead says of a process that holds sockets for others, and so must not
// be ended to free them, what to stop in its place; "" for any other process.
func StopInstead(p *fdscan.Process) string {
	switch p.Comm {
	case "systemd":
		return "a service manager: stop the unit, not this process"
	case "docker-proxy", "rootlessport", "slirp4netns", "pasta", "pasta.avx2":
		return "publishes a container's port: stop the container, not this process"
	}
	if p.PID == 1 {
		return "the first process: stop the service, not this process"
	}
	return ""
}
