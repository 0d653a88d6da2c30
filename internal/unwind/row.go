package unwind

// How the caller's value of a register is to be had: DWARF 5, section 6.4.1.
type ruleKind uint8

const (
	sameValue    ruleKind = iota
	undefined             // lost
	atOffset              // in memory at the CFA and an offset
	isOffset              // the CFA and an offset
	inRegister            // the value of a register, and an offset
	atExpression          // in memory where an expression says
	isExpression          // what an expression says
)

type rule struct {
	kind       ruleKind
	register   uint64
	offset     int64
	expression []byte
}

// row tells how to go from a frame to its caller's: how to have the canonical
// frame address (CFA), which is the stack pointer of the caller after the call,
// and the caller's registers.
type row struct {
	cfa    rule
	ra     uint64 // column of the return address
	rules  []columnRule
	signal bool // the caller was interrupted, and made no call
}

type columnRule struct {
	column uint64
	rule
}

// maxRows is how many rows are kept of a module: those of all places that a
// program has calls at when it opens something are far fewer.
const maxRows = 1 << 13

// row returns the row for the code at the address; nil when there is none.
func (l *library) row(m *module, cpu *machine, address uint64) *row {
	r, known := m.rows[address]
	if known || m.image == nil {
		return r
	}
	if i := m.image; i.machine == cpu.elf {
		r, _ = ask(l, m, func() (r *row) {
			if d, ok := i.find(address); ok {
				r = d.row(cpu, address)
			}
			return r
		}, closing[*row](m))
	}
	if len(m.rows) >= maxRows {
		clear(m.rows)
	}
	m.rows[address] = r
	return r
}

// row makes the instructions of d into the row of the code at the address; nil
// when they are not understood.
func (d *description) row(cpu *machine, address uint64) *row {
	p := program{machine: cpu, description: d, target: address, at: d.start}
	if !p.run(d.common) {
		return nil
	}
	p.initial = p.state
	if !p.run(d.instructions) || d.ra >= cpu.columns {
		return nil
	}
	r := &row{cfa: p.cfa, ra: d.ra, signal: d.signal}
	for column, rule := range p.rules[:cpu.columns] {
		if rule.kind != sameValue {
			r.rules = append(r.rules, columnRule{uint64(column), rule})
		}
	}
	return r
}

// stepRow goes to the caller as the row says.
func (w *walk) stepRow(r *row) bool {
	cfa, ok := w.value(r.cfa, 0)
	if !ok {
		return false
	}
	caller := w.cpu
	caller.set(w.cpu.sp, cfa)
	restored := false
	for _, rule := range r.rules {
		if rule.kind == undefined {
			caller.forget(rule.column)
			continue
		}
		value, ok := w.value(rule.rule, cfa)
		if !ok {
			caller.forget(rule.column)
			continue
		}
		caller.set(rule.column, value)
		restored = restored || rule.column == r.ra
	}
	// Where a call pushes the return address, it is in memory; a link register
	// has it only as long as the function has made no call itself.
	if !restored && w.cpu.call != 0 {
		return false
	}
	caller.pc, ok = caller.get(r.ra)
	if !ok {
		return false
	}
	if w.cpu.call == 0 && !r.signal {
		caller.forget(w.cpu.ra)
	}
	w.cpu = caller
	return true
}

// value applies a rule.
func (w *walk) value(r rule, cfa uint64) (uint64, bool) {
	switch r.kind {
	case atOffset:
		return w.unwinder.memory.word(cfa + uint64(r.offset))
	case isOffset:
		return cfa + uint64(r.offset), true
	case inRegister:
		v, ok := w.cpu.get(r.register)
		return v + uint64(r.offset), ok
	case atExpression:
		address, ok := w.evaluate(r.expression, cfa)
		if !ok {
			return 0, false
		}
		return w.unwinder.memory.word(address)
	case isExpression:
		return w.evaluate(r.expression, cfa)
	}
	return 0, false
}
