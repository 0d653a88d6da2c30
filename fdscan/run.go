package fdscan

// Crossing is a descriptor that exec(2) has carried into a program, and that
// nothing shows to be meant for it.
type Crossing struct {
	// Descriptor is what the program got; Process is that program, as it was
	// before its first instruction.
	*Descriptor
	// From is the program that had the descriptor before: the parent's, or what
	// the process itself was.
	From *Process
	// Plumbing says what shows that From manages its descriptors for the
	// programs that it starts, as a script does by its redirections; "" when
	// nothing does.
	Plumbing string
	// Count is how many programs got such a descriptor from such a program in
	// the same way, and Into are their names, sorted, the first few.
	Count int
	Into  []string
	// Closed is how many of them closed it themselves, before they executed
	// another program or ended, and had started none.
	Closed int
}

// Unclosed is a descriptor that was open when the process that had opened it
// ended.
type Unclosed struct {
	*Descriptor
	// Signal has ended the process; 0 when it exited.
	Signal int
	// Count is how many processes of the program have left such a one open.
	Count int
}

// Survivor is a process that has outlived the command that it belongs to.
type Survivor struct {
	Process *Process
	// Streams are the pipes and sockets of the caller that it can write to and
	// the command writes its output to: "stdout", "stderr". Who reads them to
	// their end waits for the process.
	Streams []string
	// Ports are the listeners and bound sockets that it holds, other than unix
	// sockets, which keep a name and no port.
	Ports []*Descriptor
	// Locked are the files on which it holds locks.
	Locked []*Descriptor
}
