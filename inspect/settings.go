package inspect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Settings are what a .stray.yaml says.
type Settings struct {
	// FailOn and Baseline are values for the flags of these names; empty when
	// they are not set. Strict is one too.
	FailOn   string
	Baseline string
	Strict   bool
	Ignore   []*Ignore
}

// SettingsError is a mistake in a .stray.yaml, and where it is.
type SettingsError struct {
	Line, Column int // from 1
	Message      string
	// Hint says what is right; empty when the message does.
	Hint string
}

func (e *SettingsError) Error() string { return e.Message }

// ParseSettings reads a .stray.yaml. What is not known in it is an error, a
// *SettingsError. Rules are looked up by find, which returns nil for one that does
// not exist.
func ParseSettings(text []byte, find func(id string) *Rule) (*Settings, error) {
	if line := tooDeep(text); line > 0 {
		return nil, &SettingsError{line, 1, "it goes too deep", fmt.Sprintf("no more than %d brackets may be open", mostBrackets)}
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, syntaxError(err)
	}
	s := &Settings{}
	p := settingsParser{find}
	for i, d := range file.Docs {
		switch {
		case d.Body == nil: // nothing but comments
		case i > 0:
			return nil, at(d.Body, "a second document", "one file has one document: no line ---")
		default:
			err = p.settings(s, d.Body)
		}
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// mostBrackets is how many brackets may be open: the parser takes the square of
// their number in time, and its stack has an end.
const mostBrackets = 100

// tooDeep is the line in which more brackets are open than may be; 0 for none.
// Those in strings count too: there are never as many.
func tooDeep(text []byte) int {
	line, open := 1, 0
	for _, c := range text {
		switch c {
		case '\n':
			line++
		case '[', '{':
			if open++; open > mostBrackets {
				return line
			}
		case ']', '}':
			open--
		}
	}
	return 0
}

// syntaxError takes the place out of an error of the parser, whose text is of
// several lines.
func syntaxError(err error) error {
	var e interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if errors.As(err, &e) && e.GetToken() != nil {
		position := e.GetToken().Position
		return &SettingsError{position.Line, position.Column, e.GetMessage(), ""}
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return &SettingsError{1, 1, first, ""}
}

// at is an error about a node.
func at(n ast.Node, message, hint string) error {
	position := n.GetToken().Position
	return &SettingsError{position.Line, position.Column, message, hint}
}

// settingsParser reads the nodes of a file by hand: each mistake is told with its
// place, and a file that says anything else is refused.
type settingsParser struct{ find func(id string) *Rule }

// pairs calls f with every key and value of a mapping, and refuses a node that is
// none. The error of f is about the value unless it has a place of its own.
func pairs(n ast.Node, what string, f func(key string, kv *ast.MappingValueNode) error) error {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode: // a mapping of one key
		values = []*ast.MappingValueNode{n}
	default:
		return at(n, fmt.Sprintf("%s has keys and values", what), "")
	}
	for _, kv := range values {
		if err := f(kv.Key.GetToken().Value, kv); err != nil {
			return err
		}
	}
	return nil
}

// items calls f with each item of a sequence.
func items(n ast.Node, f func(n ast.Node) error) error {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		if _, empty := n.(*ast.NullNode); empty {
			return nil
		}
		return at(n, "a list is wanted here", "each entry begins with a dash: - rule: FD101")
	}
	for _, item := range sequence.Values {
		if err := f(item); err != nil {
			return err
		}
	}
	return nil
}

// scalar is the text of a value.
func scalar(kv *ast.MappingValueNode) (string, error) {
	key := kv.Key.GetToken().Value
	switch n := kv.Value.(type) {
	case *ast.LiteralNode: // of several lines
		return strings.TrimSpace(n.Value.Value), nil
	case *ast.NullNode:
	case *ast.StringNode:
		if strings.TrimSpace(n.Value) != "" {
			return strings.TrimSpace(n.Value), nil
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode: // as it is written
		return n.GetToken().Value, nil
	default:
		return "", at(n, fmt.Sprintf("%s takes one value", key), "")
	}
	return "", at(kv.Key, key+" has no value", "")
}

func (p settingsParser) settings(s *Settings, n ast.Node) error {
	return pairs(n, "the file", func(key string, kv *ast.MappingValueNode) (err error) {
		switch key {
		case "ignore":
			return items(kv.Value, func(n ast.Node) error {
				i, err := p.entry(n)
				s.Ignore = append(s.Ignore, i)
				return err
			})
		case "fail-on":
			s.FailOn, err = scalar(kv)
			if err == nil && SeverityNamed(s.FailOn) == 0 && s.FailOn != "none" {
				err = at(kv.Value, fmt.Sprintf("unknown value %q for fail-on", s.FailOn), "error, warning, note or none")
			}
		case "baseline":
			s.Baseline, err = scalar(kv)
		case "strict":
			strict, ok := kv.Value.(*ast.BoolNode)
			if !ok {
				return at(kv.Value, "strict is true or false", "")
			}
			s.Strict = strict.Value
		default:
			return at(kv.Key, fmt.Sprintf("unknown key %q", key), "the file has ignore, fail-on, strict and baseline")
		}
		return err
	})
}

// entry reads one entry of ignore.
func (p settingsParser) entry(n ast.Node) (*Ignore, error) {
	i := &Ignore{Line: n.GetToken().Position.Line}
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 {
		i.Line = m.Values[0].Key.GetToken().Position.Line
	}
	err := pairs(n, "an entry", func(key string, kv *ast.MappingValueNode) error {
		if key == "match" {
			err := pairs(kv.Value, "match", func(key string, kv *ast.MappingValueNode) error { return i.addCondition(key, kv) })
			if err == nil && len(i.Match) == 0 {
				err = at(kv.Value, "match has no condition", "without match, the entry is for the rule as a whole")
			}
			return err
		}
		if !slices.Contains([]string{"rule", "reason", "expires"}, key) {
			return at(kv.Key, fmt.Sprintf("unknown key %q", key), "an entry has rule, match, reason and expires")
		}
		value, err := scalar(kv)
		if err != nil {
			return err
		}
		switch key {
		case "rule":
			if i.Rule = p.find(value); i.Rule == nil {
				return at(kv.Value, fmt.Sprintf("unknown rule %q", value), "stray rules lists them")
			}
		case "reason":
			i.Reason = value
		case "expires":
			day, err := time.Parse(time.DateOnly, value)
			if err != nil {
				return at(kv.Value, fmt.Sprintf("%q is no date", value), "a date is written as 2006-01-02; the entry holds through that day, in UTC")
			}
			i.Until = day.AddDate(0, 0, 1)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case i.Rule == nil:
		return nil, at(n, "the entry names no rule", "rule: FD101")
	case i.Reason == "":
		return nil, at(n, fmt.Sprintf("the entry for %s gives no reason", i.Rule.ID), "reason: why this is no fault, or until when it has to be borne")
	}
	return i, nil
}

func (i *Ignore) addCondition(key string, kv *ast.MappingValueNode) error {
	keys := ConditionKeys()
	if !slices.ContainsFunc(keys, func(k ConditionKey) bool { return k.Name == key }) {
		var names []string
		for _, k := range keys {
			names = append(names, k.Name)
		}
		return at(kv.Key, fmt.Sprintf("unknown key %q", key), "match has "+strings.Join(names, ", "))
	}
	value, err := scalar(kv)
	if err != nil {
		return err
	}
	c, err := NewCondition(key, value)
	if err != nil {
		return at(kv.Value, err.Error(), "")
	}
	i.Match = append(i.Match, c)
	return nil
}
