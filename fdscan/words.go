package fdscan

import (
	"fmt"
	"strconv"
	"strings"
)

// Descriptor.Target is written in these few forms, whatever the kind.

// sentence joins what there is of the parts.
func sentence(parts ...string) string {
	var present []string
	for _, p := range parts {
		if p != "" {
			present = append(present, p)
		}
	}
	return strings.Join(present, ", ")
}

// labelled is "label value"; empty without a value.
func labelled(label, value string) string {
	if value == "" {
		return ""
	}
	return label + " " + value
}

// unlessZero is labelled, and empty for a count of 0.
func unlessZero(label, count string) string {
	if count == "0" {
		return ""
	}
	return labelled(label, count)
}

// counted is "value label"; empty without a value.
func counted(value, label string) string {
	if value == "" {
		return ""
	}
	return value + " " + label
}

// mostTold is how many of a list are named before the rest is counted: Details
// has them all.
const mostTold = 16

// several writes the first of a list, and how many more there are.
func several[T any](all []T, write func(T) string) string {
	var words []string
	for _, v := range all[:min(len(all), mostTold)] {
		words = append(words, write(v))
	}
	if more := len(all) - len(words); more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(words, "; ")
}

// typeName is the name of a number that the kernel writes; the number where
// there is none.
func typeName(names []string, number string) string {
	if n, err := strconv.Atoi(number); err == nil && n >= 0 && n < len(names) {
		return names[n]
	}
	return labelled("type", number)
}

// fromHex writes a hexadecimal number in decimal; what is none stays as it is.
func fromHex(s string) string {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return s
	}
	return strconv.FormatUint(n, 10)
}

// bitWord is the name of a bit, or of several.
type bitWord struct {
	bits uint32
	word string // "" for a bit that is not told of
}

// bitWords are the words for the bits that are set; those without one are
// written together in hexadecimal.
func bitWords(set uint32, words []bitWord) (found []string) {
	for _, w := range words {
		if set&w.bits != w.bits || w.bits == 0 {
			continue
		}
		set &^= w.bits
		if w.word != "" {
			found = append(found, w.word)
		}
	}
	if set != 0 {
		found = append(found, "0x"+strconv.FormatUint(uint64(set), 16))
	}
	return found
}
