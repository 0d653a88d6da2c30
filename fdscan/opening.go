package fdscan

// Opening is how a descriptor came to be: the system call that made it, and where
// the program was then.
type Opening struct {
	// Call is the name of the system call: "socket", "openat".
	Call string
	// Program is the name of the process that called (comm).
	Program string
	// Stack are the calls that it was in, the innermost first; empty when they
	// could not be told.
	Stack []Frame
	// Of is how that came to be which this is a duplicate of; nil when it is none,
	// or that was not seen.
	Of *Opening
}

// Frame is a call of a stack.
type Frame struct {
	// Function is its name as the program's language writes it; "" when unknown.
	Function string
	// File and Line are where it stands in the source, as the compiler was told;
	// "" and 0 without line information.
	File string
	Line int
	// Module is the path of the program or library, and Offset the address in it
	// that its symbols count by: what addr2line(1) takes.
	Module string
	Offset uint64
	// Inlined: the compiler has put it into the next frame.
	Inlined bool
}
