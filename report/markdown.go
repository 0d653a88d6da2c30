package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"stray/inspect"
)

var _ = register(&Format{
	Name:  "markdown",
	Title: "findings and what to do, for an issue, a merge request or a wiki",
	Write: writeMarkdown,
})

// mostMarkdown is how many findings, sockets, or lines of a list are written
// before the rest is counted: GitHub refuses a summary of more than 1 MiB.
const mostMarkdown = 100

// writeMarkdown writes what CommonMark and GitHub's tables understand, the
// findings first.
func writeMarkdown(w io.Writer, r *Result, _ Style) error {
	b := bufio.NewWriter(w)
	o := r.Outcome
	title := strings.TrimSpace("stray " + r.Command + " " + r.question())
	fmt.Fprintf(b, "# %s\n\n%s, Linux %s, %s: %s.\n", markdownText(title), markdownText(o.Host.Name), markdownText(o.Host.Kernel),
		o.TakenAt.UTC().Format("2006-01-02 15:04:05 UTC"), tally(r))
	if run := o.Run; run != nil {
		fmt.Fprintf(b, "\n%s: exit code %d after %s, %d %s.\n", markdownText(strings.Join(run.Argv, " ")), run.ExitCode, run.Duration.Round(time.Millisecond), run.Processes, plurals(run.Processes, "process", "processes"))
	}
	if r.Answer != nil {
		fmt.Fprintln(b)
		for line := range strings.Lines(verdictText(r.Answer)) {
			fmt.Fprintf(b, "- %s\n", markdownText(strings.TrimSuffix(line, "\n")))
		}
	}
	for _, f := range o.Findings[:min(len(o.Findings), mostMarkdown)] {
		fmt.Fprintf(b, "\n## %s %s: %s\n\n%s\n", f.Rule.ID, f.Severity, f.Rule.Name, markdownText(f.Message))
		if len(f.Evidence) > 0 {
			fmt.Fprintln(b)
		}
		for _, e := range f.Evidence {
			fmt.Fprintf(b, "- %s\n", markdownText(e))
		}
		if len(f.Next) > 0 {
			fmt.Fprintf(b, "\n```sh\n%s\n```\n", strings.Join(clean(slices.Clone(f.Next)), "\n"))
		}
	}
	more := func(n int, noun string) {
		if n -= mostMarkdown; n > 0 {
			fmt.Fprintf(b, "\nand %s more %s (-o json has them)\n", thousands(n), plural(n, noun))
		}
	}
	more(len(o.Findings), "finding")
	if r.Answer != nil || r.Connections != nil { // of others they are not the question
		if len(o.Findings) > 0 && len(o.Shown) > 0 {
			fmt.Fprint(b, "\n## Sockets\n")
		}
		more(markdownSockets(b, o.Shown), "row")
	}
	section := func(title string, n int, line func(i int) string) {
		if n > 0 {
			fmt.Fprintf(b, "\n## %s\n\n", title)
		}
		for i := range min(n, mostMarkdown) {
			fmt.Fprintf(b, "- %s\n", markdownText(line(i)))
		}
		more(n, "line")
	}
	gaps := gapLines(o.Gaps)
	section("Not seen", len(gaps), func(i int) string { return gaps[i].String() })
	unchecked := uncheckedLines(o.NotEvaluated)
	section(strings.ToUpper(uncheckedWords(r.Answer)[:1])+uncheckedWords(r.Answer)[1:], len(unchecked), func(i int) string { return unchecked[i].String() })
	section("Suppressed", len(o.Suppressed), func(i int) string { return suppressedText(o.Suppressed[i]) })
	return b.Flush()
}

// verdictText says what is free, and what can be bound.
func verdictText(a *inspect.Answer) string {
	var text strings.Builder
	p := &page{Writer: bufio.NewWriter(&text), outcome: &a.Outcome, answer: a, paint: newPalette(false)}
	for i, t := range a.Targets {
		if a.PerTarget[i] == inspect.Held {
			p.say(nil, t.Text+" is held")
		}
	}
	p.explained()
	p.free()
	p.binds()
	_ = p.Flush()
	return text.String()
}

// markdownCommand is how much of a command line a table shows, in columns.
const markdownCommand = 120

// markdownSockets writes a row for each holder, as long as there are not too many,
// and counts them all.
func markdownSockets(b *bufio.Writer, sockets []*inspect.Socket) (rows int) {
	if len(sockets) == 0 {
		return 0
	}
	fmt.Fprint(b, "\n| socket | state | pid | fd | close-on-exec | origin | command |\n|---|---|---|---|---|---|---|\n")
	row := func(cells ...string) {
		if rows++; rows > mostMarkdown {
			return
		}
		for i := range cells {
			cells[i] = markdownText(cells[i])
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	for _, s := range sockets {
		name := s.Describe()
		if s.Remote.Port != 0 {
			name += " → " + inspect.EndpointText(s.Protocol, s.Remote)
		}
		for _, h := range s.Holders {
			cells := holderCells(h)
			command := cmp.Or(commandLine(h.Process), h.Process.Comm)
			row(name, string(s.State), cells[0], cells[2], cells[5], cells[6], cut(Printable(command), markdownCommand))
		}
		if len(s.Holders) == 0 {
			row(name, string(s.State), "", "", "", "", "")
		}
	}
	return rows
}

// tally is the outcome in a few words: what there is of each severity, and what
// does not count.
func tally(r *Result) string {
	o := r.Outcome
	var parts []string
	for _, severity := range []inspect.Severity{inspect.Error, inspect.Warning, inspect.Note} {
		n := 0
		for _, f := range o.Findings {
			if f.Severity == severity {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, plural(n, severity.String())))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "no findings")
	}
	if n := len(o.Suppressed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d suppressed", n))
	}
	if n := len(o.NotEvaluated); n > 0 {
		parts = append(parts, fmt.Sprintf("%d %s %s", n, plural(n, "rule"), uncheckedWords(r.Answer)))
	}
	return strings.Join(parts, ", ")
}

// activeWord is a word that GitHub or GitLab make something of, however it is
// escaped: a name that is notified (@name), an issue (#12, GH-12, !12), a label
// or milestone (~3, %3), a formula ($x$), an address. In code it is text.
var activeWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)[@#!%~&][\pL\pN_]|\$|www\.|\bgh-\d`) })

// markdownText writes text so that it stands for itself and calls nobody: a
// process chooses its name.
func markdownText(s string) string {
	var parts, passive []string
	flush := func() {
		if len(passive) > 0 {
			parts = append(parts, escapeMarkdown(strings.Join(passive, " ")))
		}
		passive = nil
	}
	for word := range strings.SplitSeq(Printable(s), " ") {
		if !activeWord().MatchString(word) {
			passive = append(passive, word)
			continue
		}
		flush()
		parts = append(parts, codeWord(word))
	}
	flush()
	return strings.Join(parts, " ")
}

// codeWord writes a word as code, but for what would end that, or a cell of a
// table.
func codeWord(word string) string {
	const ends = "`|\\"
	var b strings.Builder
	for word != "" {
		n := strings.IndexAny(word, ends)
		switch {
		case n == 0:
			b.WriteString("\\" + word[:1])
			word = word[1:]
			continue
		case n < 0:
			n = len(word)
		}
		b.WriteString("`" + word[:n] + "`")
		word = word[n:]
	}
	return b.String()
}

// escapeMarkdown writes text so that it stands for itself: a process chooses its
// name, and may choose a link, a heading or the end of a table.
func escapeMarkdown(s string) string {
	text := []rune(Printable(s))
	is := func(i int, class func(rune) bool) bool { return i >= 0 && i < len(text) && class(text[i]) }
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	slash := func(r rune) bool { return r == '/' }
	number := true // all before is one
	var b strings.Builder
	for i, r := range text {
		special := false
		switch r {
		case '\\', '`', '*', '[', ']', '<', '>', '|', '&', '~':
			special = true
		case '_': // within a word it is no emphasis
			special = !is(i-1, word) || !is(i+1, word)
		case '#', '-', '+', '=': // a heading, a list, a line below a heading
			special = i == 0
		case '.', ')': // "1. " is a list
			special = number && i > 0 && (i+1 == len(text) || text[i+1] == ' ')
		case ':': // "https://" is a link
			special = is(i+1, slash) && is(i+2, slash)
		}
		number = number && unicode.IsDigit(r)
		if special {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
