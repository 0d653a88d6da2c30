package unwind

// maxRemembered bounds how deep states are remembered: compilers do it once.
const maxRemembered = 16

// state is a row in the making.
type state struct {
	cfa   rule
	rules [maxColumns]rule
}

// program runs the call frame instructions of a description up to its target, the
// address whose row is wanted: DWARF 5, section 6.4.2.
type program struct {
	*machine
	*description
	target, at uint64
	state
	initial    state // that of the common entry's instructions
	remembered []state
}

// Call frame instructions. The first three have an operand in their low six bits.
const (
	cfaAdvance                = 0x40
	cfaOffset                 = 0x80
	cfaRestore                = 0xc0
	cfaNop                    = 0x00
	cfaSetLoc                 = 0x01
	cfaAdvance1               = 0x02
	cfaAdvance2               = 0x03
	cfaAdvance4               = 0x04
	cfaOffsetExtended         = 0x05
	cfaRestoreExtended        = 0x06
	cfaUndefined              = 0x07
	cfaSameValue              = 0x08
	cfaRegister               = 0x09
	cfaRememberState          = 0x0a
	cfaRestoreState           = 0x0b
	cfaDefCFA                 = 0x0c
	cfaDefCFARegister         = 0x0d
	cfaDefCFAOffset           = 0x0e
	cfaDefCFAExpression       = 0x0f
	cfaExpression             = 0x10
	cfaOffsetExtendedSF       = 0x11
	cfaDefCFASF               = 0x12
	cfaDefCFAOffsetSF         = 0x13
	cfaValOffset              = 0x14
	cfaValOffsetSF            = 0x15
	cfaValExpression          = 0x16
	cfaNegateRAState          = 0x2d // arm64: return addresses are signed from here
	cfaArgsSize               = 0x2e
	cfaNegativeOffset         = 0x2f
	cfaOperand                = 0x3f
	cfaWithOperand      uint8 = 0xc0
)

// run runs instructions, and reports whether they were understood.
func (p *program) run(instructions []byte) bool {
	c := cursor{b: instructions}
	for len(c.b) > 0 && !c.bad && p.at <= p.target {
		op := c.u8()
		low := uint64(op & cfaOperand)
		switch op & cfaWithOperand {
		case cfaAdvance:
			p.advance(low)
			continue
		case cfaOffset:
			p.set(low, rule{kind: atOffset, offset: p.scaled(c.uleb())})
			continue
		case cfaRestore:
			p.restore(low)
			continue
		}
		switch op {
		case cfaNop, cfaNegateRAState:
		case cfaSetLoc:
			// The pointer's own address, which the relative ones need, is not at hand;
			// no compiler for these machines writes one.
			return false
		case cfaAdvance1:
			p.advance(uint64(c.u8()))
		case cfaAdvance2:
			p.advance(uint64(c.u16()))
		case cfaAdvance4:
			p.advance(uint64(c.u32()))
		case cfaOffsetExtended:
			column := c.uleb()
			p.set(column, rule{kind: atOffset, offset: p.scaled(c.uleb())})
		case cfaOffsetExtendedSF:
			column := c.uleb()
			p.set(column, rule{kind: atOffset, offset: c.sleb() * p.dataAlign})
		case cfaNegativeOffset:
			column := c.uleb()
			p.set(column, rule{kind: atOffset, offset: -p.scaled(c.uleb())})
		case cfaValOffset:
			column := c.uleb()
			p.set(column, rule{kind: isOffset, offset: p.scaled(c.uleb())})
		case cfaValOffsetSF:
			column := c.uleb()
			p.set(column, rule{kind: isOffset, offset: c.sleb() * p.dataAlign})
		case cfaRestoreExtended:
			p.restore(c.uleb())
		case cfaUndefined:
			p.set(c.uleb(), rule{kind: undefined})
		case cfaSameValue:
			p.set(c.uleb(), rule{})
		case cfaRegister:
			column := c.uleb()
			p.set(column, rule{kind: inRegister, register: c.uleb()})
		case cfaRememberState:
			if len(p.remembered) == maxRemembered {
				return false
			}
			p.remembered = append(p.remembered, p.state)
		case cfaRestoreState:
			n := len(p.remembered)
			if n == 0 {
				return false
			}
			p.state, p.remembered = p.remembered[n-1], p.remembered[:n-1]
		case cfaDefCFA:
			p.cfa = rule{kind: inRegister, register: c.uleb(), offset: int64(c.uleb())}
		case cfaDefCFASF:
			p.cfa = rule{kind: inRegister, register: c.uleb(), offset: c.sleb() * p.dataAlign}
		case cfaDefCFARegister:
			p.cfa.register = c.uleb()
		case cfaDefCFAOffset:
			p.cfa.offset = int64(c.uleb())
		case cfaDefCFAOffsetSF:
			p.cfa.offset = c.sleb() * p.dataAlign
		case cfaDefCFAExpression:
			p.cfa = rule{kind: isExpression, expression: c.take(c.uleb())}
		case cfaExpression:
			column := c.uleb()
			p.set(column, rule{kind: atExpression, expression: c.take(c.uleb())})
		case cfaValExpression:
			column := c.uleb()
			p.set(column, rule{kind: isExpression, expression: c.take(c.uleb())})
		case cfaArgsSize:
			c.uleb()
		default:
			return false
		}
	}
	return !c.bad
}

func (p *program) advance(n uint64) { p.at += n * p.codeAlign }

func (p *program) scaled(n uint64) int64 { return int64(n) * p.dataAlign }

// set sets the rule of a register, if it is one that is followed.
func (p *program) set(column uint64, r rule) {
	if column < p.columns {
		p.rules[column] = r
	}
}

func (p *program) restore(column uint64) {
	if column < p.columns {
		p.rules[column] = p.initial.rules[column]
	}
}
