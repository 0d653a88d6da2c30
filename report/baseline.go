package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"stray/inspect"
)

// BaselineDocument is the JSON form of a baseline.
type BaselineDocument struct {
	SchemaVersion string          `json:"schema_version"`
	Baseline      []BaselineEntry `json:"baseline"`
}

// BaselineEntry are known findings with one fingerprint.
type BaselineEntry struct {
	Rule        string  `json:"rule"`
	Severity    string  `json:"severity"`
	Program     *string `json:"program"`
	Fingerprint string  `json:"fingerprint"`
	Count       int     `json:"count"`
	// With are the commands without which it may be out of sight; most need none.
	With    []string `json:"with"`
	Message string   `json:"message"`
}

// WriteBaseline writes b in the order of its entries.
func WriteBaseline(w io.Writer, b *inspect.Baseline) error {
	e := encoder(w)
	e.SetIndent("", "  ")
	return e.Encode(BaselineDocument{SchemaVersion, list(b.Entries, func(e inspect.BaselineEntry) BaselineEntry {
		return BaselineEntry{e.Rule, e.Severity.String(), orNull(text(e.Program)), e.Fingerprint, e.Count, list(e.With, text), text(e.Message)}
	})})
}

// ReadBaseline reads what WriteBaseline has written, or a later version of it.
func ReadBaseline(data []byte) (*inspect.Baseline, error) {
	var d struct {
		SchemaVersion string           `json:"schema_version"`
		Baseline      *[]BaselineEntry `json:"baseline"`
	}
	if err := decode(data, &d); err != nil {
		return nil, err
	}
	if d.Baseline == nil {
		return nil, errors.New("it is no baseline: there is no key \"baseline\"")
	}
	if err := checkVersion(d.SchemaVersion); err != nil {
		return nil, err
	}
	b := &inspect.Baseline{}
	seen := map[string]bool{}
	for i, j := range *d.Baseline {
		e := inspect.BaselineEntry{Fingerprint: j.Fingerprint, Count: j.Count, Severity: inspect.SeverityNamed(j.Severity), Rule: j.Rule, With: j.With, Message: j.Message}
		if j.Program != nil {
			e.Program = *j.Program
		}
		if e.Fingerprint == "" || e.Count < 1 || e.Severity == 0 || e.Rule == "" {
			return nil, fmt.Errorf("entry %d lacks a fingerprint, a rule, a severity or a count above 0", i+1)
		}
		if seen[e.Fingerprint] {
			return nil, fmt.Errorf("entry %d has the fingerprint of another, %s", i+1, e.Fingerprint)
		}
		seen[e.Fingerprint] = true
		b.Entries = append(b.Entries, e)
	}
	return b, nil
}

// decode reads one JSON document, and says in which line it is wrong.
func decode(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(-1)
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
		err = fmt.Errorf("a JSON %s is no value for %q", kind.Value, kind.Field)
	}
	if offset >= 0 {
		line := 1 + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
		return fmt.Errorf("line %d: %w", line, err)
	}
	return err
}

// checkVersion refuses what another major version has written.
func checkVersion(version string) error {
	major, _, _ := strings.Cut(version, ".")
	mine, _, _ := strings.Cut(SchemaVersion, ".")
	switch major {
	case mine:
		return nil
	case "":
		return errors.New("stray did not write it: there is no key \"schema_version\"")
	}
	return fmt.Errorf("its schema version is %s, and this program reads %s.x", version, mine)
}
