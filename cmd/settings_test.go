package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// checkGate is what a gate says of its files.
func checkGate(t *testing.T, args ...string) error {
	t.Helper()
	a := &app{stderr: &bytes.Buffer{}}
	c := &cobra.Command{Use: "scan"}
	g := a.gateFlags(c)
	if err := c.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return g.check(c)
}

func refusal(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", words)
		return
	}
	e := err.(*exitError)
	for _, w := range words {
		if !strings.Contains(e.message+"\n"+e.hint, w) {
			t.Errorf("%q, hint %q: lacks %q", e.message, e.hint, w)
		}
	}
}

// A FIFO in place of the settings or the baseline keeps nobody waiting, and what
// is too long or too deep is not read to its end.
func TestSettingsThatAreNone(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := unix.Mkfifo(settingsFile, 0o600); err != nil {
		t.Fatal(err)
	}
	refusal(t, checkGate(t), ".stray.yaml is no regular file")
	refusal(t, checkGate(t, "--ignore-file", settingsFile), "is no regular file")
	refusal(t, checkGate(t, "--ignore-file", "/dev/null", "--baseline", settingsFile), "read the baseline: .stray.yaml is no regular file")
	if err := checkGate(t, "--ignore-file", "/dev/null"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(settingsFile); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		strings.Repeat("[", 100_000):                 "it goes too deep",
		strings.Repeat("# long\n", mostSettings/7+1): "is longer than",
	} {
		if err := os.WriteFile(settingsFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refusal(t, checkGate(t), want)
	}
}

// Root does not follow what another user has put into a directory, unless it is
// named, and says nothing of what is behind a link.
func TestSettingsOfOthers(t *testing.T) {
	testenv.NeedRoot(t)
	t.Chdir(t.TempDir())
	t.Setenv("SUDO_UID", "")
	if err := os.WriteFile("secret", []byte("root:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("secret", settingsFile); err != nil {
		t.Fatal(err)
	}
	err := checkGate(t)
	refusal(t, err, "is a symbolic link")
	if strings.Contains(err.(*exitError).hint, "secret") {
		t.Errorf("%v", err)
	}
	if err := os.Remove(settingsFile); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(settingsFile, []byte("strict: true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(settingsFile, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	refusal(t, checkGate(t), "belongs to user 12345", ": --ignore-file ./.stray.yaml", "scan --ignore-file /dev/null")
	if err := checkGate(t, "--ignore-file", "./.stray.yaml"); err != nil {
		t.Error(err)
	}
	t.Setenv("SUDO_UID", "12345")
	if err := checkGate(t); err != nil {
		t.Error(err)
	}
}

// Settings do not choose a place for a baseline beyond their own directory.
func TestBaselineOfSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	elsewhere := t.TempDir()
	if err := os.Symlink(elsewhere, "link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("ci", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(elsewhere, "file"), "file"); err != nil {
		t.Fatal(err)
	}
	for path, allowed := range map[string]bool{
		"known.json": true, "ci/known.json": true, "../known.json": false, "link/known.json": false, "file": false,
		filepath.Join(elsewhere, "known.json"): false,
	} {
		if err := os.WriteFile(settingsFile, []byte("baseline: "+path+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := checkGate(t, "--update-baseline")
		if allowed && err != nil {
			t.Errorf("%s: %v", path, err)
		} else if !allowed {
			refusal(t, err, "names a baseline that is no file in its directory")
		}
		if err := checkGate(t, "--update-baseline", "--baseline", path); err != nil {
			t.Errorf("%s by name: %v", path, err)
		}
	}
}
