package proctest

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// operation is one step of a role, as the language of the package writes it:
//
//	NAME ARGUMENT… KEY=VALUE… { BODY }
type operation struct {
	Name    string
	Args    []string
	Options map[string]string
	// Body is the role of the process that the operation starts.
	Body []*operation
	// Process numbers the process that Body describes; 0 when the operation
	// starts none. The process that a whole script describes is number 1.
	Process int
}

func (op *operation) String() string { return strings.Join(append([]string{op.Name}, op.Args...), " ") }

// option returns the value of an option, or the default.
func (op *operation) option(key, otherwise string) string {
	if value, ok := op.Options[key]; ok {
		return value
	}
	return otherwise
}

// on reports whether an option is 1. (check has seen that it is 0 or 1.)
func (op *operation) on(key string) bool { return op.Options[key] == "1" }

// cloexec returns the flag that makes a descriptor close-on-exec, if the
// operation asks for that. SOCK_CLOEXEC, EPOLL_CLOEXEC and their like are the
// same bit.
func (op *operation) cloexec() int {
	if op.on("cloexec") {
		return unix.O_CLOEXEC
	}
	return 0
}

// number returns an option whose value is a number. (check has seen that it is.)
func (op *operation) number(key string, otherwise int) int {
	if value, ok := op.Options[key]; ok {
		otherwise, _ = strconv.Atoi(value)
	}
	return otherwise
}

// parse reads a script and checks it against the specifications of the
// operations, so that what remains to go wrong is up to the kernel.
func parse(script string) ([]*operation, error) {
	p := parser{rest: script}
	ops, err := p.block(false)
	if err != nil {
		return nil, err
	}
	if err := check(ops, nil); err != nil {
		return nil, err
	}
	if ops, err = expand(ops); err != nil {
		return nil, err
	}
	processes := 1
	number(ops, &processes)
	return ops, nil
}

// Token kinds besides words.
const (
	separator  = ";"
	blockOpen  = "{"
	blockClose = "}"
)

// parser cuts a script into words. A word in double quotes is a Go string; it
// is never an option, a brace, or a separator. A word that begins with # begins
// a comment, to the end of the line.
type parser struct{ rest string }

// next returns the next token; ok is false at the end of the script.
func (p *parser) next() (token string, quoted, ok bool, err error) {
	p.rest = strings.TrimLeft(p.rest, " \t\r")
	if strings.HasPrefix(p.rest, "#") {
		p.rest = strings.TrimLeftFunc(p.rest, func(r rune) bool { return r != '\n' })
	}
	switch {
	case p.rest == "":
		return "", false, false, nil
	case p.rest[0] == '\n':
		p.rest = p.rest[1:]
		return separator, false, true, nil
	case p.rest[0] == '"':
		literal, err := strconv.QuotedPrefix(p.rest)
		if err != nil {
			return "", false, false, fmt.Errorf("word in quotes never ends: %s", p.rest)
		}
		p.rest = p.rest[len(literal):]
		word, err := strconv.Unquote(literal)
		return word, true, true, err
	case strings.ContainsRune(";{}", rune(p.rest[0])):
		token, p.rest = p.rest[:1], p.rest[1:]
		return token, false, true, nil
	}
	end := strings.IndexAny(p.rest, " \t\r\n;{}")
	if end < 0 {
		end = len(p.rest)
	}
	token, p.rest = p.rest[:end], p.rest[end:]
	return token, false, true, nil
}

// optionWord is KEY=VALUE. Keys are lower case: LISTEN_FDS=1 is an argument.
var optionWord = regexp.MustCompile(`^([a-z][a-z0-9]*)=(.*)$`)

// block reads operations up to the end of the script, or to the closing brace.
func (p *parser) block(nested bool) ([]*operation, error) {
	var ops []*operation
	var op *operation
	end := func() {
		if op != nil {
			ops = append(ops, op)
		}
		op = nil
	}
	for {
		token, quoted, ok, err := p.next()
		switch {
		case err != nil:
			return nil, err
		case !ok && nested:
			return nil, fmt.Errorf("a %q has no %q", blockOpen, blockClose)
		case !ok:
			end()
			return ops, nil
		case quoted && op == nil:
			return nil, fmt.Errorf("operation expected, found %q", token)
		case quoted:
			op.Args = append(op.Args, token)
		case token == separator:
			end()
		case token == blockClose && !nested:
			return nil, fmt.Errorf("a %q has no %q", blockClose, blockOpen)
		case token == blockClose:
			end()
			return ops, nil
		case token == blockOpen && op == nil:
			return nil, fmt.Errorf("operation expected, found %q", token)
		case token == blockOpen:
			if op.Body, err = p.block(true); err != nil {
				return nil, err
			}
			if op.Body == nil {
				op.Body = []*operation{} // a block, if an empty one
			}
			end()
		case op == nil:
			op = &operation{Name: token, Options: map[string]string{}}
		default:
			if m := optionWord.FindStringSubmatch(token); m != nil {
				op.Options[m[1]] = m[2]
			} else {
				op.Args = append(op.Args, token)
			}
		}
	}
}

// expand writes out operations that are short for others, and those that have
// times=N.
func expand(ops []*operation) ([]*operation, error) {
	out := []*operation{}
	for _, op := range ops {
		if short := specifications[op.Name].expand; short != nil {
			long, err := parse(short(op))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", op, err)
			}
			out = append(out, long...)
			continue
		}
		if op.Body != nil {
			var err error
			if op.Body, err = expand(op.Body); err != nil {
				return nil, err
			}
		}
		for range op.number("times", 1) {
			out = append(out, op.clone())
		}
	}
	return out, nil
}

func (op *operation) clone() *operation {
	c := *op
	if op.Body != nil {
		c.Body = make([]*operation, len(op.Body))
		for i, inner := range op.Body {
			c.Body[i] = inner.clone()
		}
	}
	return &c
}

// number gives each process that ops start its number, in the order in which
// they are written.
func number(ops []*operation, last *int) {
	for _, op := range ops {
		if specifications[op.Name].process {
			*last++
			op.Process = *last
		}
		number(op.Body, last)
	}
}

// optionForms are what the values of options have to look like.
var optionForms = func() map[string]*regexp.Regexp {
	forms := map[string]*regexp.Regexp{"name": regexp.MustCompile(`^[a-z][a-z0-9]*$`)}
	bit, number := regexp.MustCompile(`^[01]$`), regexp.MustCompile(`^[0-9]{1,9}$`)
	for _, key := range []string{
		"cloexec", "create", "newnet", "newpid", "newuser", "nonblock", "own", "reuseaddr", "reuseport", "share", "stdio", "v6only", "write",
	} {
		forms[key] = bit
	}
	for _, key := range []string{"backlog", "fd", "times", "uid"} {
		forms[key] = number
	}
	return forms
}()

// check reports the first operation that does not meet its specification, or
// cannot stand in the block of the one around it.
func check(ops []*operation, around *specification) error {
	for i, op := range ops {
		spec, ok := specifications[op.Name]
		switch {
		case !ok:
			return fmt.Errorf("unknown operation %q", op.Name)
		case len(op.Args) < spec.min || spec.max >= 0 && len(op.Args) > spec.max:
			return fmt.Errorf("%s: usage: %s", op, spec.usage)
		case op.Body != nil && !spec.block:
			return fmt.Errorf("%s takes no block", op.Name)
		case op.Body == nil && spec.block && spec.max == 0:
			return fmt.Errorf("%s needs a block", op.Name)
		case around != nil && around.admits != nil && !around.admits(spec):
			return fmt.Errorf("%s: not inside of %s { … }", op, around.name)
		case spec.last && i != len(ops)-1:
			return fmt.Errorf("%s: nothing can follow it", op)
		}
		for key, value := range op.Options {
			if !slices.Contains(spec.options, key) {
				return fmt.Errorf("%s: unknown option %s=; usage: %s", op, key, spec.usage)
			}
			if form, ok := optionForms[key]; ok && !form.MatchString(value) {
				return fmt.Errorf("%s: %s=%q does not match %s", op, key, value, form)
			}
		}
		if err := check(op.Body, spec); err != nil {
			return err
		}
	}
	return nil
}
