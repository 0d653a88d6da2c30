package fdscan

import (
	"regexp"
	"strings"
	"sync"
)

// lazy compiles a pattern when it is first needed: a program that asks about a
// free port never does.
func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// unitOf returns the innermost systemd unit that a cgroup path names, such as
// "nginx.service"; "" for a path without one, and for user and machine slices.
func unitOf(path string) string {
	parts := strings.Split(path, "/")
	for i := len(parts) - 1; i >= 0; i-- {
		for _, suffix := range [...]string{".service", ".scope", ".socket", ".mount"} {
			if strings.HasSuffix(parts[i], suffix) && !isContainerScope(parts[i]) {
				return unescapeUnit(parts[i])
			}
		}
	}
	return ""
}

// unescapeUnit undoes systemd's \x2d escapes (systemd.unit(5)).
func unescapeUnit(s string) string { return strings.ReplaceAll(s, `\x2d`, "-") }

var (
	// containerID is the name that container runtimes give to the cgroup of
	// a container: 64 hexadecimal digits, alone or in a systemd scope.
	containerID = lazy(`(?:^|/)(?:(docker|libpod|crio|cri-containerd|containerd|nerdctl)-)?([0-9a-f]{64})(?:\.scope)?(?:/|$)`)
	// containerName is the cgroup of LXC, LXD, Incus and systemd-nspawn.
	containerName = lazy(`(?:^|/)(?:lxc(?:\.payload)?[./]([^/]+)|machine-([^/]+)\.scope|systemd-nspawn@([^/]+)\.service)(?:/|$)`)
)

func isContainerScope(part string) bool { return containerID().MatchString(part) }

// containerOf returns the container that a cgroup path names, as
// "docker:0123456789ab" or "lxc:name"; "" when there is none.
func containerOf(path string) string {
	if m := containerID().FindStringSubmatch(path); m != nil {
		runtime := m[1]
		switch {
		case runtime == "libpod":
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
	if m := containerName().FindStringSubmatch(path); m != nil {
		if m[1] != "" {
			return "lxc:" + m[1]
		}
		return "nspawn:" + unescapeUnit(m[2]+m[3])
	}
	return ""
}
