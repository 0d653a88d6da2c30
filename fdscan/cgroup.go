package fdscan

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// lazy compiles a pattern when it is first needed: a program that asks about a
// free port never does.
func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// cgroup is where a process is in the hierarchies of cgroups, and what that tells.
type cgroup struct{ path, unit, container string }

// cgroup reads the text of a /proc/PID/cgroup. Many processes have the same.
func (l *lookup) cgroup(text []byte) cgroup {
	l.mu.Lock()
	defer l.mu.Unlock()
	c, known := l.cgroups[string(text)]
	if !known {
		path := cgroupPath(text)
		c = cgroup{path, unitOf(path), containerOf(path)}
		if l.cgroups == nil {
			l.cgroups = map[string]cgroup{}
		}
		l.cgroups[string(text)] = c
	}
	return c
}

// cgroupPath reads the lines "hierarchy:controllers:path" and prefers the unified
// hierarchy, which has the number 0. On a host of version 1 that is empty, and
// name=systemd or the longest path of a controller tells more.
func cgroupPath(text []byte) (path string) {
	for line := range bytes.Lines(text) {
		hierarchy, rest, _ := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(":"))
		_, found, ok := bytes.Cut(rest, []byte(":"))
		switch {
		case !ok:
		case string(hierarchy) == "0" && string(found) != "/":
			return string(found)
		case len(found) > len(path):
			path = string(found)
		}
	}
	return path
}

// unitOf returns the innermost systemd unit that a cgroup path names, such as
// "nginx.service", as systemctl(1) takes it; "" for a path without one. The
// manager of a user is none: whoever stops it ends the session.
func unitOf(path string) string {
	parts := strings.Split(path, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		for _, suffix := range [...]string{".service", ".scope", ".socket", ".mount"} {
			if strings.HasSuffix(parts[i], suffix) && !isContainerScope(parts[i]) && !strings.HasPrefix(parts[i], "user@") {
				return parts[i]
			}
		}
	}
	return ""
}

// unescapeName undoes the \x2d by which systemd writes a dash in the name of a
// machine (systemd.unit(5)).
func unescapeName(s string) string { return strings.ReplaceAll(s, `\x2d`, "-") }

var (
	// containerID is the name that container runtimes give to the cgroup of
	// a container: 64 hexadecimal digits, alone or in a systemd scope.
	containerID = lazy(`(?:^|/|:)(?:(docker|libpod|libpod-payload|crio|cri-containerd|containerd|nerdctl)[-:])?([0-9a-f]{64})(?:\.scope)?(?:/|$)`)
	// containerName is the cgroup of LXC, LXD, Incus and systemd-nspawn, and
	// of whatever else systemd-machined(8) has registered.
	containerName = lazy(`(?:^|/)(?:lxc(?:/|\.payload[./])([^/]+)|machine-([^/]+)\.scope|systemd-nspawn@([^/]+)\.service)(?:/|$)`)
)

func isContainerScope(part string) bool { return containerID().MatchString(part) }

// containerOf returns the container that a cgroup path names, as
// "docker:0123456789ab" or "lxc:name"; "" when there is none.
func containerOf(path string) string {
	if m := containerID().FindStringSubmatch(path); m != nil {
		runtime := m[1]
		switch {
		case strings.HasPrefix(runtime, "libpod"):
			runtime = "podman"
		case runtime != "":
		case strings.Contains(path, "docker"):
			runtime = "docker"
		case strings.Contains(path, "kubepods"):
			runtime = "kubernetes"
		default:
			runtime = "container"
		}
		return runtime + ":" + m[2][:12]
	}
	m := containerName().FindStringSubmatch(path)
	switch {
	case m == nil:
		return ""
	case m[1] != "":
		return "lxc:" + m[1]
	case m[2] != "":
		return "machine:" + unescapeName(m[2])
	}
	return "nspawn:" + unescapeName(m[3])
}
