package rules

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

const (
	// nearLimit and atLimit are the parts of RLIMIT_NOFILE above which a table
	// is a warning and an error, in percent.
	nearLimit, atLimit = 80, 95
	// leastLimit is the least limit that means anything: what is lower, a program
	// has set for itself, so that it can open nothing (a sandbox).
	leastLimit = 32
)

var _ = register(&inspect.Rule{
	ID:           "FD204",
	Name:         "near-limit",
	Severity:     inspect.Warning,
	SeverityNote: fmt.Sprintf("error above %d %%", atLimit),
	Title:        "nearly as many descriptors as RLIMIT_NOFILE allows",
	Text: `At the limit every open, socket, accept and pipe fails with EMFILE, "too many
open files": a server then takes no more connections, and often spins on accept,
which fails and stays ready.

A table that fills is a leak as long as nothing else explains it: look at which
kind of descriptor makes up most of it, and watch whether that falls again. A
program with as many connections as it has clients needs a higher limit.

It is recognised by the number of entries of the table and the soft limit in
/proc/PID/limits. What a limit of less than 32 allows is not judged: programs
that confine themselves set that.`,
	Cures: []inspect.Cure{
		{Language: "C", Text: "close what is opened, on the error paths too; set FD_CLOEXEC. Where so many are needed, raise the soft limit to the hard one at the start: getrlimit, setrlimit(RLIMIT_NOFILE). Keep select(2) away from numbers above 1023."},
		{Language: "C++/Asio", Text: "a socket lives as long as the last shared_ptr to its session: look for handlers that hold one, and set a deadline for each connection."},
		{
			Language: "Go", Text: "the runtime raises the soft limit itself. Look for response bodies that are not closed, and for http.Client values made for each request.",
			Before: "resp, err := http.Get(url)\nif err != nil {\n    return err\n}\nreturn json.NewDecoder(resp.Body).Decode(&v)",
			After:  "resp, err := http.Get(url)\nif err != nil {\n    return err\n}\ndefer resp.Body.Close()\nreturn json.NewDecoder(resp.Body).Decode(&v)",
		},
		{Language: "Python", Text: "with open(…), with closing(…), one requests.Session for many requests; -X dev warns of files that the collector has to close."},
		{Language: "Node", Text: "destroy() sockets and streams on error too; set a timeout on agents and servers."},
		{Language: "Rust", Text: "drop closes: look for mem::forget, into_raw_fd and collections that only grow."},
		{Language: "Java", Text: "try-with-resources for streams, sockets, Files.list and Files.walk; close the pool of an HTTP client."},
		{Language: "Crystal", Text: "File.open and TCPSocket.open with a block close at its end."},
		{Language: "shell", Text: "ulimit -n, or LimitNOFILE= in the unit of the service."},
	},
	Needs: inspect.SightTables,
	Check: func(r *inspect.Rule, v *inspect.View) (findings []inspect.Finding) {
		for _, t := range v.Tables {
			if t.Limit < leastLimit || t.Limit == math.MaxUint64 {
				continue
			}
			open := uint64(t.Open)
			if 100*open < nearLimit*t.Limit {
				continue
			}
			message := fmt.Sprintf("%s has %d descriptors open, %s %% of the %d that its limit allows: %s", who(t.Process), t.Open, percent(open, t.Limit), t.Limit, mostly(t))
			trend := inspect.TrendOf(t)
			if left, ok := trend.UntilLimit(t.Limit); ok {
				message += fmt.Sprintf("; they grow, and reach it in %s", inspect.About(left))
			}
			f := inspect.NewProcessFinding(r, t.Process, -1, message)
			f.TID = t.TID
			if 100*open > atLimit*t.Limit {
				f.Severity = inspect.Error
			}
			f.Next = append([]string{fmt.Sprintf("stray scan --fds -p %d", t.Process.PID)}, f.Next...)
			findings = append(findings, f)
		}
		return findings
	},
	Starved: func(v *inspect.View) string { return inspect.UnreadHolders(v.Snapshot) },
})

// percent writes a part of a whole, with one decimal unless that is 0. What is just
// below a bound is not written as the bound: "94.9", "95", "95.3".
func percent(part, whole uint64) string {
	tenths := 1000 * part / whole
	text := strconv.FormatUint(tenths/10, 10)
	if tenths%10 != 0 {
		text += "." + strconv.FormatUint(tenths%10, 10)
	}
	return text
}

// mostly names the kinds that make up a table, the most frequent first.
func mostly(t *fdscan.Table) string {
	kinds := slices.SortedFunc(maps.Keys(t.Kinds), func(a, b string) int {
		if n := t.Kinds[b] - t.Kinds[a]; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, k := range kinds[:min(len(kinds), 3)] {
		parts = append(parts, fmt.Sprintf("%d %s", t.Kinds[k], k))
	}
	return strings.Join(parts, ", ")
}
