package unwind

// maxOperands bounds the stack of an expression.
const maxOperands = 32

// evaluate evaluates a DWARF expression of call frame information (DWARF 5,
// sections 2.5 and 6.4.2) that begins with the CFA on its stack. There are no
// branches: an expression ends after as many operations as it has.
func (w *walk) evaluate(expression []byte, cfa uint64) (uint64, bool) {
	const (
		opAddr       = 0x03
		opDeref      = 0x06
		opConst1u    = 0x08
		opConst1s    = 0x09
		opConst2u    = 0x0a
		opConst2s    = 0x0b
		opConst4u    = 0x0c
		opConst4s    = 0x0d
		opConst8u    = 0x0e
		opConst8s    = 0x0f
		opConstu     = 0x10
		opConsts     = 0x11
		opDup        = 0x12
		opAnd        = 0x1a
		opMinus      = 0x1c
		opMul        = 0x1e
		opOr         = 0x21
		opPlus       = 0x22
		opPlusUconst = 0x23
		opShl        = 0x24
		opShr        = 0x25
		opXor        = 0x27
		opEq         = 0x29
		opGe         = 0x2a
		opGt         = 0x2b
		opLe         = 0x2c
		opLt         = 0x2d
		opNe         = 0x2e
		opLit0       = 0x30
		opLit31      = 0x4f
		opBreg0      = 0x70
		opBreg31     = 0x8f
		opNop        = 0x96
	)
	var stack [maxOperands]uint64
	stack[0] = cfa
	n, ok := 1, true
	push := func(v uint64) {
		if n == maxOperands {
			ok = false
			return
		}
		stack[n] = v
		n++
	}
	pop := func() uint64 {
		if n == 0 {
			ok = false
			return 0
		}
		n--
		return stack[n]
	}
	truth := func(b bool) {
		if b {
			push(1)
		} else {
			push(0)
		}
	}
	c := cursor{b: expression}
	for len(c.b) > 0 && ok {
		op := c.u8()
		switch {
		case op >= opLit0 && op <= opLit31:
			push(uint64(op - opLit0))
			continue
		case op >= opBreg0 && op <= opBreg31:
			v, known := w.cpu.get(uint64(op - opBreg0))
			ok = ok && known
			push(v + uint64(c.sleb()))
			continue
		}
		switch op {
		case opNop:
		case opDeref:
			v, read := w.unwinder.memory.word(pop())
			ok = ok && read
			push(v)
		case opAddr, opConst8u, opConst8s:
			push(c.u64())
		case opConst1u:
			push(uint64(c.u8()))
		case opConst1s:
			push(uint64(int8(c.u8())))
		case opConst2u:
			push(uint64(c.u16()))
		case opConst2s:
			push(uint64(int16(c.u16())))
		case opConst4u:
			push(uint64(c.u32()))
		case opConst4s:
			push(uint64(int32(c.u32())))
		case opConstu:
			push(c.uleb())
		case opConsts:
			push(uint64(c.sleb()))
		case opPlusUconst:
			push(pop() + c.uleb())
		case opDup:
			v := pop()
			push(v)
			push(v)
		case opAnd, opMinus, opMul, opOr, opPlus, opShl, opShr, opXor, opEq, opGe, opGt, opLe, opLt, opNe:
			b := pop()
			a := pop()
			switch op {
			case opAnd:
				push(a & b)
			case opMinus:
				push(a - b)
			case opMul:
				push(a * b)
			case opOr:
				push(a | b)
			case opPlus:
				push(a + b)
			case opShl:
				push(a << b)
			case opShr:
				push(a >> b)
			case opXor:
				push(a ^ b)
			case opEq:
				truth(a == b)
			case opGe:
				truth(int64(a) >= int64(b))
			case opGt:
				truth(int64(a) > int64(b))
			case opLe:
				truth(int64(a) <= int64(b))
			case opLt:
				truth(int64(a) < int64(b))
			case opNe:
				truth(a != b)
			}
		default:
			return 0, false
		}
	}
	v := pop()
	return v, ok && !c.bad
}
