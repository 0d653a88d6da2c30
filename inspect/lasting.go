package inspect

import (
	"path"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// words are what the names of files are made of.
var words = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[\pL\pN]+`) })

// lastingName is what another run, or another checkout, has in common of a path:
// its last two elements, with a star for each word that was made up.
func lastingName(name string) string {
	dir, base := path.Split(strings.TrimRight(name, "/"))
	lasting := path.Join(path.Base(dir), base)
	return words().ReplaceAllStringFunc(lasting, func(word string) string {
		if madeUp(word) {
			return "*"
		}
		return word
	})
}

// madeUp reports a number, or a word as mkstemp(3), a hash or a counter makes it:
// longer than most that people choose, with digits or with capitals inside. Where
// it takes a chosen word for one, two faults of one program may look alike, and
// are counted.
func madeUp(word string) bool {
	digits, capitals, last := 0, 0, ' '
	for _, r := range word {
		switch {
		case unicode.IsDigit(r):
			digits++
		case unicode.IsUpper(r) && unicode.IsLower(last):
			capitals++
		}
		last = r
	}
	return digits == len(word) || len(word) >= 6 && digits+capitals > 0
}
