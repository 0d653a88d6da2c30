package fdscan_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"stray/fdscan"
)

var update = flag.Bool("update", false, "rewrite the table of docs/fds.md")

// The table of kinds in docs/fds.md derives from the values.
func TestDocument(t *testing.T) {
	const file, begin, end = "../docs/fds.md", "-update -->\n", "<!-- end -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", file)
	}
	if want := kindTable(); table != want {
		if *update {
			err = os.WriteFile(file, []byte(before+begin+want+end+after), 0o644)
		} else {
			err = fmt.Errorf("the table of kinds is stale: go test ./fdscan -run TestDocument -update")
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// kindTable is the table in markdown.
func kindTable() string {
	var b strings.Builder
	b.WriteString("\n| kind | what it is | TARGET says besides the link | link |\n|---|---|---|---|\n")
	for _, k := range fdscan.Kinds() {
		links := "`" + strings.Join(k.Links, "` `") + "`"
		if len(k.Links) == 0 {
			links = ""
		}
		if k.Of != nil {
			links = strings.TrimSpace(links + " *of " + k.Of.Name + "*")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Name, k.Title, cmp.Or(k.Says, "–"), links)
	}
	b.WriteString("\n")
	return b.String()
}
