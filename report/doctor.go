package report

import (
	"bufio"
	"io"

	"stray/fdscan"
)

// WriteDoctor writes what a caller can see here, and what each missing thing
// would add to it, as text.
func WriteDoctor(w io.Writer, host fdscan.Host, abilities []fdscan.Ability, s Style) error {
	p := &page{Writer: bufio.NewWriter(w), style: s, paint: newPalette(s.Color)}
	p.line("Linux %s, uid %d, network namespace net:[%d]", Printable(host.Kernel), host.UID, host.NetNS)
	p.line("")
	g := &grid{header: []string{"CAN", "WHAT", "FOUND"}, elastic: []squeeze{{"FOUND", 12, nil}}}
	paints := map[string]func(...any) string{"yes": p.paint.green.Sprint, "partly": p.paint.yellow.Sprint, "no": p.paint.red.Sprint}
	var missing []fdscan.Ability
	for _, a := range abilities {
		row := gridRow{cells: clean([]string{a.Have, a.Name, a.Detail})}
		if paint := paints[a.Have]; paint != nil {
			row.paint = func(line string) string { return paint(line) }
		}
		g.rows = append(g.rows, row)
		if a.Have != "yes" {
			missing = append(missing, a)
		}
	}
	if err := g.write(p, s); err != nil {
		return err
	}
	if len(missing) > 0 {
		p.line("")
		p.line("what is missing would add")
	}
	for _, a := range missing {
		p.say(nil, "  "+a.Name+": "+a.Adds)
	}
	return p.Flush()
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
	return e.Encode(doctorDocument{
		SchemaVersion,
		Tool{"stray", version},
		"doctor", newHost(host),
		list(abilities, func(a fdscan.Ability) ability { return ability{a.Name, a.Have, text(a.Detail), text(a.Adds)} }),
	})
}
