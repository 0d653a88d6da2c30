package report

import (
	"io"

	"stray/inspect"
)

// rulesDocument is the JSON form of everything that is checked.
type rulesDocument struct {
	SchemaVersion string         `json:"schema_version"`
	Tool          Tool           `json:"tool"`
	Command       string         `json:"command"`
	Rules         []ruleDocument `json:"rules"`
}

type ruleDocument struct {
	ID           string         `json:"id"`
	Name         string         `json:"name"`
	Title        string         `json:"title"`
	Severity     string         `json:"severity"`
	SeverityNote *string        `json:"severity_note"`
	Text         string         `json:"text"`
	Cures        []cureDocument `json:"cures"`
}

type cureDocument struct {
	Language string  `json:"language"`
	Text     string  `json:"text"`
	Before   *string `json:"before"`
	After    *string `json:"after"`
}

// WriteRulesJSON writes rules with all that they say.
func WriteRulesJSON(w io.Writer, version string, rules []*inspect.Rule) error {
	e := encoder(w)
	e.SetIndent("", "  ")
	return e.Encode(rulesDocument{SchemaVersion, Tool{"stray", version}, "rules", list(rules, func(r *inspect.Rule) ruleDocument {
		return ruleDocument{
			r.ID, r.Name, r.Title, r.Severity.String(), orNull(r.SeverityNote), r.Text,
			list(r.Cures, func(c inspect.Cure) cureDocument {
				return cureDocument{c.Language, c.Text, orNull(c.Before), orNull(c.After)}
			}),
		}
	})})
}
