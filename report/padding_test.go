package report_test

import (
	"regexp"
	"strings"
	"testing"

	"stray/fdscan"
	"stray/report"
)

// What setproctitle(3) leaves behind a title is on no page: empty arguments or
// blanks, in the place of those that the process was started with.
func TestPaddedTitles(t *testing.T) {
	for _, cmdline := range [][]string{{"nginx: master process", "", "", ""}, {"nginx: master process    "}} {
		m := newMachine("18080")
		s := m.listen("0.0.0.0:18080")
		master := m.process(4180, "/usr/sbin/nginx", serves(s))
		master.Cmdline = cmdline
		hold(s, master, 5, false)
		m.table(master, map[string]int{"socket": 1})
		r := m.answer()
		listing := *r
		listing.Command, listing.Answer, listing.Listed = "scan", nil, []*fdscan.Descriptor{{Process: master, FD: 5, Kind: fdscan.AnySocket}}
		for name, text := range map[string]string{
			"table": render(t, r, "table", report.Style{}), "wide": render(t, r, "wide", report.Style{}),
			"markdown": render(t, r, "markdown", report.Style{}), "listing": render(t, &listing, "table", report.Style{}),
		} {
			if !strings.Contains(text, "nginx: master process") || regexp.MustCompile(`master process {2,}|(?m: $)`).MatchString(text) {
				t.Errorf("%s: %q", name, text)
			}
		}
	}
}
