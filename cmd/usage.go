package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"stray/fdscan"
)

// exampleTarget is what a hint asks about where the user has named nothing that
// could be asked about.
const exampleTarget = "18080"

// again writes a command line anew, for hints: the flags that were given, with
// some changed, and other arguments. A flag that is changed to "" is left out.
func again(c *cobra.Command, args []string, change map[string]string) string {
	words := strings.Fields(c.CommandPath())
	c.Flags().VisitAll(func(f *pflag.Flag) {
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand
		}
		value, changed := change[f.Name]
		if !changed && f.Changed {
			value = f.Value.String()
			list, isList := f.Value.(pflag.SliceValue)
			switch {
			case isList && f.Value.Type() == "stringArray": // a comma is no end in it
				for _, v := range list.GetSlice() {
					words = append(words, name, shellWord(v))
				}
				return
			case isList:
				value = strings.Join(list.GetSlice(), ",")
			}
		}
		switch {
		case value == "", value == "false":
		case value == "true" && f.NoOptDefVal != "":
			words = append(words, name)
		default:
			words = append(words, name, shellWord(value))
		}
	})
	for i, a := range args {
		if i == c.ArgsLenAtDash() {
			words = append(words, "--")
		}
		words = append(words, shellWord(a))
	}
	return strings.Join(words, " ")
}

// shellWord quotes a word for sh(1) where that is needed.
func shellWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// noArgs refuses arguments.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(again(c, nil, nil), "%s takes no argument, but there is %q", c.CommandPath(), args[0])
	}
	return nil
}

// examples are values for flags that take one, as they would be written.
var examples = map[string]string{
	"color": "--color never", "output": "-o json", "output-file": "--output-file report.txt", "pid": "-p 1", "timeout": "--wait free --timeout 30s", "wait": "--wait free",
}

// flagError tells what is wrong with a flag, and shows the right form.
func (a *app) flagError(c *cobra.Command, err error) error {
	if !c.HasParent() {
		// A flag of another command has come before the command is known.
		for _, word := range a.args {
			if !strings.HasPrefix(word, "-") {
				return unknownCommand(c, a.args, word)
			}
		}
	}
	hint := c.CommandPath() + " --help"
	example := func(f *pflag.Flag) {
		if e := examples[f.Name]; e != "" && c.Name() == "who" {
			hint = c.CommandPath() + " " + e + " " + exampleTarget
		}
	}
	message := err.Error()
	var invalid *pflag.InvalidValueError
	var missing *pflag.ValueRequiredError
	switch {
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		example(f)
		kind := map[string]string{"intSlice": "a process id", "int": "a number", "duration": "a duration such as 30s", "bool": "true or false"}[f.Value.Type()]
		message = fmt.Sprintf("--%s takes %s, not %q", f.Name, kind, invalid.GetValue())
	case errors.As(err, &missing):
		example(missing.GetFlag())
		message = fmt.Sprintf("--%s needs a value", missing.GetFlag().Name)
	}
	return usageError(hint, "%s", message)
}

// unknownCommand suggests the nearest command; a target is what people write
// when they forget the command.
func unknownCommand(root *cobra.Command, args []string, word string) error {
	hint := "stray --help"
	if near := root.SuggestionsFor(word); len(near) > 0 {
		corrected := slices.Clone(args)
		corrected[slices.Index(args, word)] = near[0]
		hint = "stray"
		for _, w := range corrected {
			hint += " " + shellWord(w)
		}
	} else if _, err := fdscan.ParseTarget(word); err == nil && args[0] != "help" {
		hint = "stray who"
		for _, w := range args {
			hint += " " + shellWord(w)
		}
	}
	return usageError(hint, "unknown command %q", word)
}

// wantsJSON reports whether arguments, or else the format of the environment,
// ask for JSON, even where they are wrong in another way: who reads JSON wants
// its errors as JSON too.
func wantsJSON(args []string, format string) bool {
	for i, word := range args {
		switch {
		case word == "--":
			return format == "json"
		case word == "--json", word == "--json=true":
			return true
		case (word == "-o" || word == "--output") && i+1 < len(args):
			format = args[i+1]
		case strings.HasPrefix(word, "--output="):
			format = strings.TrimPrefix(word, "--output=")
		case strings.HasPrefix(word, "-o"):
			format = strings.TrimPrefix(strings.TrimPrefix(word, "-o"), "=")
		}
	}
	return format == "json"
}
