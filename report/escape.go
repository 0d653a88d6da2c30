package report

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// text returns a name that a target controls in a form that every JSON reader
// keeps: unchanged when it is UTF-8, else with \xNN for each byte that is not,
// and \\ for each backslash.
func text(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[0])+0x100, 16)[1:])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

// Printable escapes what must not reach a terminal or a line of a table, as Go
// writes it in a string: a process chooses its name, and may choose control
// sequences. Where nothing has to be escaped, backslashes stay as they are.
func Printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			quoted := strconv.Quote(s)
			return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
		}
	}
	return s
}
