package unwind

import (
	"debug/dwarf"
	"path"
	"slices"
)

const (
	// maxEntries bounds how many entries of debugging information are read for one
	// place: more than any compilation unit has.
	maxEntries = 4 << 20
	// maxInlined bounds how many calls are inlined into one place.
	maxInlined = 64
	// maxOrigins bounds the way from an entry to the one that has its name.
	maxOrigins = 8
)

// lines tells places in source code by DWARF.
type lines struct{ *dwarf.Data }

// frames returns the frames of the code at the address: the function, preceded
// by the calls that were inlined there. A function that is not described has no
// name; nil is for code of which nothing is known.
func (l lines) frames(address uint64) []Frame {
	unit, err := l.Reader().SeekPC(address)
	if err != nil {
		return nil
	}
	file, line, files := l.line(unit, address)
	chain := l.chain(unit, address)
	slices.Reverse(chain) // innermost first
	if len(chain) == 0 {
		chain = []*dwarf.Entry{nil}
	}
	frames := make([]Frame, len(chain))
	directory, _ := unit.Val(dwarf.AttrCompDir).(string)
	for i, entry := range chain {
		f := &frames[i]
		if file != nil && line > 0 {
			f.File, f.Line = path.Clean(file.Name), line
			if !path.IsAbs(f.File) {
				f.File = path.Join(directory, f.File)
			}
		}
		if entry == nil {
			break
		}
		f.Function = readable(l.name(entry))
		f.Inlined = entry.Tag == dwarf.TagInlinedSubroutine
		// Where it was called is where the next one is.
		file, line = nil, 0
		if n, ok := entry.Val(dwarf.AttrCallFile).(int64); ok && n >= 0 && n < int64(len(files)) {
			file = files[n]
		}
		if n, ok := entry.Val(dwarf.AttrCallLine).(int64); ok && n > 0 && n < 1<<31 {
			line = int(n)
		}
	}
	if frames[0].Function == "" && frames[0].Line == 0 {
		return nil
	}
	return frames
}

// line returns the file and the line of the code at the address, and the files
// of the compilation unit by their numbers.
func (l lines) line(unit *dwarf.Entry, address uint64) (file *dwarf.LineFile, line int, files []*dwarf.LineFile) {
	table, err := l.LineReader(unit)
	if err != nil || table == nil {
		return nil, 0, nil
	}
	// The table may consist of several sequences, in any order.
	var before, e dwarf.LineEntry
	for before.EndSequence = true; table.Next(&e) == nil; before = e {
		if !before.EndSequence && before.Address <= address && address < e.Address {
			file, line = before.File, before.Line
			break
		}
	}
	return file, line, table.Files()
}

// chain returns the entries of the function that has the code at the address, and
// of the calls inlined there, each within the one before.
func (l lines) chain(unit *dwarf.Entry, address uint64) (chain []*dwarf.Entry) {
	if !unit.Children {
		return nil
	}
	r := l.Reader()
	r.Seek(unit.Offset)
	if _, err := r.Next(); err != nil {
		return nil
	}
	depth, function := 1, 0
	skip := 0 // the depth below which nothing matters
	for range maxEntries {
		e, err := r.Next()
		if err != nil || e == nil {
			break
		}
		if e.Tag == 0 {
			depth--
			if depth == function {
				break // of the unit, or of the function
			}
			if depth == skip {
				skip = 0
			}
			continue
		}
		matters := false
		switch {
		case skip != 0:
		case e.Tag == dwarf.TagSubprogram && function == 0, e.Tag == dwarf.TagInlinedSubroutine && function != 0:
			matters = l.covers(e, address)
			if matters && len(chain) < maxInlined {
				chain = append(chain, e)
			}
			if matters && function == 0 {
				function = depth
			}
		case e.Tag == dwarf.TagLexDwarfBlock && function != 0:
			// Some blocks have no addresses, those of inlined calls do.
			matters = e.Val(dwarf.AttrRanges) == nil && e.Val(dwarf.AttrLowpc) == nil || l.covers(e, address)
		case function == 0:
			// Functions of C++ and Rust may be within others' scopes.
			switch e.Tag {
			case dwarf.TagNamespace, dwarf.TagModule, dwarf.TagStructType, dwarf.TagClassType, dwarf.TagEnumerationType, dwarf.TagUnionType:
				matters = true
			}
		}
		if !e.Children {
			if function == depth {
				break
			}
			continue
		}
		if !matters && skip == 0 {
			// Forward only, so that it ends.
			if next, ok := e.Val(dwarf.AttrSibling).(dwarf.Offset); ok && next > e.Offset {
				r.Seek(next)
				continue
			}
			skip = depth
		}
		depth++
	}
	return chain
}

// covers reports whether the code that the entry describes has the address.
func (l lines) covers(e *dwarf.Entry, address uint64) bool {
	ranges, err := l.Ranges(e)
	return err == nil && slices.ContainsFunc(ranges, func(r [2]uint64) bool { return r[0] <= address && address < r[1] })
}

// name returns the symbol of the function that the entry describes, itself or by
// the entry that it is an instance of, or else its name alone.
func (l lines) name(e *dwarf.Entry) string {
	name := ""
	for range maxOrigins {
		if linkage, ok := e.Val(dwarf.AttrLinkageName).(string); ok {
			return linkage
		}
		if plain, ok := e.Val(dwarf.AttrName).(string); ok && name == "" {
			name = plain
		}
		origin, ok := e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset)
		if !ok {
			origin, ok = e.Val(dwarf.AttrSpecification).(dwarf.Offset)
		}
		if !ok {
			break
		}
		r := l.Reader()
		r.Seek(origin)
		next, err := r.Next()
		if err != nil || next == nil {
			break
		}
		e = next
	}
	return name
}
