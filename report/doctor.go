package report

import (
	"fmt"
	"io"

	"stray/fdscan"
)

// WriteDoctor writes what a caller can see here, as text.
func WriteDoctor(w io.Writer, host fdscan.Host, abilities []fdscan.Ability, s Style) error {
	if _, err := fmt.Fprintf(w, "Linux %s, uid %d, network namespace net:[%d]\n\n", printable(host.Kernel), host.UID, host.NetNS); err != nil {
		return err
	}
	g := &grid{header: []string{"CAN", "WHAT", "FOUND", "GIVES"}}
	for _, a := range abilities {
		g.add(a.Have, a.Name, a.Detail, a.Adds)
	}
	return g.write(w, s)
}

// doctorDocument is the JSON form of the same.
type doctorDocument struct {
	SchemaVersion string    `json:"schema_version"`
	Tool          Tool      `json:"tool"`
	Command       string    `json:"command"`
	Host          Host      `json:"host"`
	Abilities     []ability `json:"abilities"`
}

type ability struct {
	Name   string `json:"name"`
	Have   string `json:"have"`
	Detail string `json:"detail"`
	Adds   string `json:"adds"`
}

// WriteDoctorJSON writes what a caller can see here, as JSON.
func WriteDoctorJSON(w io.Writer, version string, host fdscan.Host, abilities []fdscan.Ability) error {
	e := encoder(w)
	e.SetIndent("", "  ")
	return e.Encode(doctorDocument{SchemaVersion, Tool{"stray", version}, "doctor", Host{text(host.Name), text(host.Kernel), text(host.BootID), host.NetNS},
		list(abilities, func(a fdscan.Ability) ability { return ability{a.Name, a.Have, text(a.Detail), text(a.Adds)} })})
}
