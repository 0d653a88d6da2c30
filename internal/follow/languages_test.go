package follow_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stray/internal/follow"
	"stray/internal/testenv"
)

// script writes a file and returns its path.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPython(t *testing.T) {
	testenv.NeedTool(t, "python3", "python3")
	path := script(t, "leak.py", `
import os, socket, subprocess, sys
mood = sys.argv[1]
def inheritable(fd):
    os.set_inheritable(fd, mood == "leaky")
listener = socket.socket(); listener.bind(("127.0.0.1", 0)); listener.listen()
inheritable(listener.fileno())
r, w = os.pipe(); inheritable(w)
passed = os.open(sys.argv[0], os.O_RDONLY)
subprocess.run(["/bin/sleep", "0"], close_fds=False, check=True)
subprocess.run(["/bin/sleep", "0"], pass_fds=[passed], check=True)
subprocess.run(["/bin/sleep", "0"], close_fds=True, check=True)
`)
	// The interpreter behind whatever stands in PATH.
	out, err := exec.Command("python3", "-c", "import sys, os; print(os.path.realpath(sys.executable))").Output()
	if err != nil {
		t.Fatal(err)
	}
	python := strings.TrimSpace(string(out))
	name := filepath.Base(python)[:min(15, len(filepath.Base(python)))]
	run := start(t, follow.Options{}, python, "-I", path, "leaky")
	equal(t, "leaky", []string{"sleep got fd 3 listener of " + name, "sleep got fd 5 pipe of " + name}, told(run, nil))
	run = start(t, follow.Options{}, python, "-I", path, "clean")
	equal(t, "clean", nil, told(run, nil))
}

// Node's own descriptors have FD_CLOEXEC, and what stdio names is meant for the
// child: only what somebody has put in Node's way crosses.
func TestNode(t *testing.T) {
	node := testenv.NeedTool(t, "node", "nodejs")
	testenv.NeedTool(t, "bash", "bash")
	path := script(t, "server.js", `
const {spawn, spawnSync, fork} = require("child_process");
const cluster = require("cluster"), fs = require("fs"), net = require("net");
const listening = (server) => new Promise((done) => server.listen(0, "127.0.0.1", done));
const ended = (child) => new Promise((done) => child.on("exit", done));
const ways = {
	// The listener becomes the child's fd 3, which nothing names to it.
	async stdio() {
		const server = net.createServer();
		await listening(server);
		await ended(spawn("sleep", ["0"], {stdio: ["ignore", "inherit", "inherit", server._handle]}));
		server.close();
	},
	// A program that knows nothing of it passes on what it was given in that way.
	async "stdio, passed on"() {
		const server = net.createServer();
		await listening(server);
		await ended(spawn("bash", ["-c", "sleep 0; true"], {stdio: ["ignore", "inherit", "inherit", server._handle]}));
		server.close();
	},
	async spawn() {
		const server = net.createServer(), file = fs.openSync(__filename);
		await listening(server);
		await ended(spawn("sleep", ["0"], {stdio: "inherit"}));
		spawnSync("sleep", ["0"]);
		fs.closeSync(file);
		server.close();
	},
	async fork() {
		const child = fork(__filename, ["child"]);
		const server = net.createServer();
		await listening(server);
		child.send("server", server);
		await ended(child);
		server.close();
	},
	async child() {
		process.on("message", (words, server) => { spawnSync("sleep", ["0"]); server.close(); process.disconnect(); });
	},
	async cluster() {
		if (!cluster.isPrimary) {
			await listening(net.createServer());
			spawnSync("sleep", ["0"]);
			return cluster.worker.disconnect();
		}
		await Promise.all([cluster.fork(), cluster.fork()].map(ended));
	},
};
ways[process.argv[2]]();
`)
	for way, tt := range map[string]struct {
		argv []string
		want []string
	}{
		"spawn":            {},
		"fork":             {},
		"cluster":          {},
		"stdio":            {},
		"stdio, passed on": {want: []string{"sleep got fd 3 listener of bash"}},
		// What its caller has opened, Node passes on as little as its own.
		"inherited": {argv: []string{"bash", "-c", `exec 7</etc/hostname; exec "$0" "$1" spawn`}, want: []string{"node got fd 7 /etc/hostname of bash by redirection"}},
	} {
		t.Run(way, func(t *testing.T) {
			run := start(t, follow.Options{Grace: 10 * time.Second}, append(tt.argv, node, path, way)...)
			if run.Status.ExitStatus() != 0 || len(run.Survivors) != 0 {
				t.Errorf("status %v", run.Status)
			}
			equal(t, "told", tt.want, told(run, nil))
		})
	}
}
