package report

import (
	"encoding/json"
	"io"
)

var _ = register(&Format{
	Name:  "json",
	Title: "one JSON document with a stable schema (stray schema)",
	Lists: true,
	Write: func(w io.Writer, r *Result, _ Style) error {
		e := encoder(w)
		e.SetIndent("", "  ")
		return e.Encode(NewDocument(r))
	},
})

// ErrorDocument is what a command that failed writes in place of a Document.
type ErrorDocument struct {
	SchemaVersion string `json:"schema_version"`
	Tool          Tool   `json:"tool"`
	Command       string `json:"command"`
	Error         struct {
		Message  string  `json:"message"`
		Hint     *string `json:"hint"`
		ExitCode int     `json:"exit_code"`
	} `json:"error"`
}

// WriteError writes an ErrorDocument.
func WriteError(w io.Writer, version, command, message, hint string, exitCode int) error {
	d := ErrorDocument{SchemaVersion: SchemaVersion, Tool: Tool{"stray", version}, Command: command}
	d.Error.Message, d.Error.Hint, d.Error.ExitCode = text(message), orNull(text(hint)), exitCode
	e := encoder(w)
	e.SetIndent("", "  ")
	return e.Encode(d)
}

func encoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}
