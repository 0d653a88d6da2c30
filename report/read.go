package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// ReadDocument reads a report that -o json has written, of this version or a
// later one with the same major number.
func ReadDocument(data []byte) (*Document, error) {
	var kind struct {
		Kind          string          `json:"kind"`
		SchemaVersion string          `json:"schema_version"`
		Error         json.RawMessage `json:"error"`
		Baseline      json.RawMessage `json:"baseline"`
		Abilities     json.RawMessage `json:"abilities"`
		Findings      json.RawMessage `json:"findings"`
		Appeared      json.RawMessage `json:"appeared"`
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("it is empty")
	}
	// The first value tells what it is, even where it is spoilt or more follows.
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&kind); err == nil {
		if kind.Kind != "" {
			return nil, errors.New("it is ndjson: what is compared is the document of -o json")
		}
		if err := checkVersion(kind.SchemaVersion); err != nil {
			return nil, err
		}
		switch {
		case kind.Error != nil:
			return nil, errors.New("it tells of a command that failed")
		case kind.Baseline != nil:
			return nil, errors.New("it is a baseline, which is for --baseline")
		case kind.Abilities != nil:
			return nil, errors.New("it is of doctor, which finds nothing to compare")
		case kind.Appeared != nil:
			return nil, errors.New("it is of diff: what is compared are reports")
		case kind.Findings == nil:
			return nil, errors.New("it is no report: there is no key \"findings\"")
		}
	}
	var d Document
	if err := decode(data, &d); err != nil {
		return nil, fmt.Errorf("it cannot be read: %w", err)
	}
	return &d, nil
}
