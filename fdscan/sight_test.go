package fdscan

import (
	"os"
	"path/filepath"
	"testing"
)

// In a pid namespace of its own, as in a container, a process does not see all.
func TestVisibleProcessesOfANamespace(t *testing.T) {
	for link, want := range map[string]string{"pid:[4026531836]": "yes", "pid:[4026532201]": "partly", "": "partly"} {
		root := t.TempDir()
		if err := os.MkdirAll(filepath.Join(root, "thread-self/ns"), 0o700); err != nil {
			t.Fatal(err)
		}
		if link != "" {
			if err := os.Symlink(link, filepath.Join(root, "thread-self/ns/pid")); err != nil {
				t.Fatal(err)
			}
		}
		l := &lookup{Scanner: &Scanner{Root: root}, snap: &Snapshot{}}
		if a := l.visibleAbility(); a.Have != want || want != "yes" && (a.Detail == "" || a.Adds == "") {
			t.Errorf("%q: %+v", link, a)
		}
	}
}
