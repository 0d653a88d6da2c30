package rules

import (
	"regexp"
	"slices"
	"strings"

	"stray/fdscan"
	"stray/inspect"
)

// tellOpening notes where the descriptors of a finding were opened; of a command that was
// followed without asking for that, how to find out.
func tellOpening(v *inspect.View, f *inspect.Finding, openings ...*fdscan.Opening) {
	if v.Run == nil || len(openings) == 0 {
		return
	}
	f.Evidence = slices.Clip(f.Evidence)
	for _, o := range openings {
		if o == nil {
			continue
		}
		if f.Opening == nil {
			f.Opening = o
		}
		f.Evidence = append(f.Evidence, inspect.OpeningText(o, v.Run.Directory)...)
	}
	if v.Run.Stacks && f.Opening == nil {
		f.Evidence = append(f.Evidence, "where it was opened was not seen: by no call that is watched, as when it comes in a message")
	}
	if !v.Run.Stacks && v.Run.NoStacks == "" && !v.Run.Sampled {
		// Before the explanation, which everybody gets.
		f.Next = slices.Insert(f.Next, len(f.Next)-1, withStacks(v.Run))
	}
}

// withStacks is the command that finds out where descriptors were opened.
func withStacks(r *inspect.Run) string {
	const most = 120 // of what is copied, and not read
	words := []string{"stray check --stacks"}
	if r.OpenAtExit {
		words[0] += " --open-at-exit"
	}
	words = append(words, "--")
	for _, a := range r.Argv {
		words = append(words, quoted(a))
	}
	line := strings.Join(words, " ")
	if len(line) > most {
		return words[0] + " -- COMMAND"
	}
	return line
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quoted is a word as a shell has to get it.
func quoted(word string) string {
	if plainWord.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
