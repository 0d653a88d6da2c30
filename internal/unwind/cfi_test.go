package unwind

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"stray/internal/testenv"
)

// A table of readelf(1): the rows of each place, in the words of columns.
//
//	00000000000000e4 0000000000000010 00000000 FDE cie=00000000 pc=0000000000001020..0000000000001030
//	   LOC           CFA      rbx   rbp   ra
//	0000000000001020 rsp+16   u     u     c-8
func TestRowsAgreeWithReadelf(t *testing.T) {
	readelf := testenv.NeedTool(t, "readelf", "binutils")
	program := compile(t, "open.c", "-O2", "-fomit-frame-pointer", "-static")
	agree(t, readelf, program, machines["amd64"], []string{"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "ra"})
}

// agree compares all rows of the ELF file.
func agree(t *testing.T, readelf, name string, cpu *machine, columns []string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	i, err := readImage(f)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(readelf, "--debug-dump=frames-interp", "--wide", name).Output()
	if err != nil && len(out) == 0 {
		t.Fatal(err) // for a warning it has a status too
	}
	number := map[string]uint64{}
	for n, column := range columns {
		number[column] = uint64(n)
	}
	var header []string
	var end uint64
	compared, different := 0, 0
	inFDE := false
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) > 3 && (fields[3] == "CIE" || fields[3] == "FDE"):
			inFDE = fields[3] == "FDE"
			if _, last, ok := strings.Cut(lines.Text(), ".."); ok {
				end, _ = strconv.ParseUint(last, 16, 64)
			}
		case len(fields) > 1 && fields[0] == "LOC":
			header = fields[1:]
		case inFDE && len(fields) == len(header)+1 && len(fields[0]) == 16:
			address, err := strconv.ParseUint(fields[0], 16, 64)
			if err != nil || address >= end {
				continue // an advance to the end, behind which nothing is
			}
			var r *row
			if d, ok := i.find(address); ok {
				r = d.row(cpu, address)
			}
			compared++
			got := make([]string, len(header))
			if r != nil {
				for n, column := range header {
					got[n] = r.text(column, number, columns)
				}
			}
			for n, column := range header {
				if _, followed := number[column]; (followed || column == "CFA") && got[n] != fields[n+1] && fields[n+1] != "s" {
					different++
					if different < 10 {
						t.Errorf("%s at %#x: %s is %q, readelf says %q", name, address, column, got[n], fields[n+1])
					}
				}
			}
		}
	}
	if err := lines.Err(); err != nil || compared < 1000 {
		t.Errorf("%d rows compared, %v", compared, err)
	}
	t.Logf("%d rows compared, %d different", compared, different)
}

// text writes a rule as readelf does.
func (r *row) text(column string, number map[string]uint64, columns []string) string {
	if column == "CFA" {
		if r.cfa.kind == isExpression {
			return "exp"
		}
		return fmt.Sprintf("%s%+d", columns[r.cfa.register], r.cfa.offset)
	}
	for _, rule := range r.rules {
		if rule.column != number[column] {
			continue
		}
		switch rule.kind {
		case undefined:
			return "u"
		case atOffset:
			return fmt.Sprintf("c%+d", rule.offset)
		case isOffset:
			return fmt.Sprintf("v%+d", rule.offset)
		case inRegister:
			return columns[rule.register]
		case atExpression:
			return "exp"
		case isExpression:
			return "vexp"
		}
	}
	return "u" // the same value: readelf does not tell that from unknown, but for an "s" where it is said
}
