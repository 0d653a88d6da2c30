package fdscan_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"stray/fdscan"
	"stray/internal/proctest"
)

func TestFileByPath(t *testing.T) {
	directory, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(directory, "a file\nof two lines")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(directory, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	role := proctest.Start(t,
		fmt.Sprintf("open %q name=open", path),
		"fork { serve sleep }",
		fmt.Sprintf("exec { open %q name=mapped ; map mapped ; close mapped ; serve sleep }", path),
	)
	role.Descriptor("open")
	want := append(table(role, role.Descriptor("open").Inode), fmt.Sprintf("pid %d fd -1 memory", role.Children[1].PID))
	for _, target := range []string{path, link} {
		snap := ask(t, target)
		if len(snap.Objects) != 1 || len(snap.Sockets) != 0 {
			t.Fatalf("objects %+v, sockets %s", snap.Objects, sockets(snap))
		}
		o := snap.Objects[0]
		if o.Kind != "regular" || o.Inode != role.Descriptor("open").Inode || o.Path != target {
			t.Errorf("object %+v", o)
		}
		wantHolders(t, o.Holders, want...)
	}
}

func TestProgramAndDirectoryByPath(t *testing.T) {
	role := proctest.Start(t, `exec as=program { serve sleep }`)
	program := role.Children[0]
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", program.PID))
	if err != nil {
		t.Fatal(err)
	}
	o := ask(t, exe).Objects[0]
	wantHolders(t, o.Holders, fmt.Sprintf("pid %d fd -1 memory", program.PID))
	if o.Holders[0].Note != "program" {
		t.Errorf("note %q", o.Holders[0].Note)
	}
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range ask(t, cwd).Objects[0].Holders {
		if h.Process.PID == program.PID && h.Note == "working directory" && h.Via == fdscan.ViaMemory {
			return
		}
	}
	t.Error("the working directory is not found")
}

func TestFileThatDoesNotExist(t *testing.T) {
	target, err := fdscan.ParseTarget("/no/such/file")
	if err != nil {
		t.Fatal(err)
	}
	_, err = (&fdscan.Scanner{}).Lookup(t.Context(), fdscan.Question{Targets: []fdscan.Target{target}})
	if _, ok := err.(*fdscan.TargetError); !ok {
		t.Errorf("error %v, want a *TargetError", err)
	}
}
