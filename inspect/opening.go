package inspect

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"stray/fdscan"
)

// OpeningText says where a descriptor was opened: what it is a duplicate of is the
// second line. Paths below dir, the working directory, are relative to it.
func OpeningText(o *fdscan.Opening, dir string) []string {
	verb := "opened"
	switch {
	case isDuplication(o.Call):
		verb = "duplicated"
	case strings.HasPrefix(o.Call, "accept"):
		verb = "accepted"
	}
	lines := []string{fmt.Sprintf("%s by %s(2)%s", verb, o.Call, callsText(o, dir))}
	if o.Of != nil {
		lines = append(lines, OpeningText(o.Of, dir)...)
	}
	return lines
}

// callsText are the calls of the program's own code, innermost first.
func callsText(o *fdscan.Opening, dir string) string {
	const most = 4
	calls := OwnCalls(o)
	interpreter := slices.IndexFunc(o.Stack, func(f fdscan.Frame) bool { return interpreted(f) != "" })
	switch {
	case len(o.Stack) == 0:
		return ", and its stack could not be read"
	case len(calls) == 0 && interpreter >= 0:
		return " in " + interpreted(o.Stack[interpreter]) + ", whose lines this stack does not tell"
	case len(calls) == 0:
		return " in the runtime, and not in code of the program's own"
	}
	var words []string
	for _, f := range calls[:min(len(calls), most)] {
		words = append(words, FrameText(f, dir))
	}
	text := " at " + strings.Join(words, " ← ")
	if len(calls) > most {
		text += " ← …"
	}
	return text
}

// FrameText is a call at a glance: "leak.c:5 open_backend", or as much of that as is
// known.
func FrameText(f fdscan.Frame, dir string) string {
	switch {
	case f.File != "":
		return strings.TrimSuffix(fmt.Sprintf("%s:%d %s", InDirectory(f.File, dir), f.Line, f.Function), " ")
	case f.Function != "":
		return fmt.Sprintf("%s (%s)", f.Function, path.Base(f.Module))
	}
	return fmt.Sprintf("%s+%#x", path.Base(f.Module), f.Offset)
}

// InDirectory is a file's path relative to a directory that it is below; any other
// as it is.
func InDirectory(file, dir string) string {
	if rest, ok := strings.CutPrefix(file, strings.TrimSuffix(dir, "/")+"/"); ok && dir != "" {
		return rest
	}
	return file
}

// Source is the line of source below a directory where a finding's descriptor was
// opened, by the innermost call of its own code that is there; not ok when none is.
func (f *Finding) Source(dir string) (file string, line int, ok bool) {
	if f.Opening == nil || dir == "" {
		return "", 0, false
	}
	for _, c := range OwnCalls(f.Opening) {
		if file := InDirectory(path.Clean(c.File), dir); file != "" && !path.IsAbs(file) && path.IsAbs(c.File) && c.Line > 0 {
			return file, c.Line, true
		}
	}
	return "", 0, false
}

// OwnCalls are the calls of an opening's stack that the program's own code made,
// innermost first: without those of the C library, of a language's runtime and
// standard library, and of an interpreter.
func OwnCalls(o *fdscan.Opening) []fdscan.Frame {
	own := slices.DeleteFunc(slices.Clone(o.Stack), func(f fdscan.Frame) bool { return isRuntime(f) || isInterpreter(f) })
	// What is linked into a program of which the lines are known, and has none, is a
	// library too: the C library of a static program.
	if i := slices.IndexFunc(own, func(f fdscan.Frame) bool { return f.File != "" }); i > 0 && !slices.ContainsFunc(own[:i], func(f fdscan.Frame) bool { return f.Module != own[i].Module }) {
		own = own[i:]
	}
	return own
}

func isDuplication(call string) bool { return strings.HasPrefix(call, "dup") || call == "fcntl" }

// runtimeModules are the libraries, by the beginnings of their names, that programs
// make system calls by.
var runtimeModules = []string{
	"libc.so", "libc-", "ld-", "ld.so", "libpthread", "libstdc++", "libc++", "libm.so", "librt", "libuv", "libasan", "libtsan", "libgcc_s", "ld-musl", "libc.musl",
	"[vdso]", "[vsyscall]",
}

// runtimeFunctions begin and end every program.
var runtimeFunctions = []string{
	"_start", "__libc_start_main", "__libc_start_call_main", "__libc_start_main_impl", "start_thread", "clone", "clone3", "__clone", "__clone3",
}

// isRuntime reports a call of a C library, or of a standard library.
func isRuntime(f fdscan.Frame) bool {
	module := path.Base(f.Module)
	return slices.ContainsFunc(runtimeModules, func(name string) bool { return strings.HasPrefix(module, name) }) ||
		slices.Contains(runtimeFunctions, f.Function) || strings.HasPrefix(f.Function, "__libc_") ||
		strings.Contains(f.File, "/sysdeps/") || strings.HasPrefix(f.File, "../sysdeps/") ||
		strings.HasPrefix(f.Function, "std::") || strings.HasPrefix(f.File, "/rustc/") || isGoLibrary(f)
}

// goLibrary are the first elements of the paths of Go's standard library that come
// near a system call.
var goLibrary = []string{
	"bufio", "compress", "context", "crypto", "database", "encoding", "internal", "io", "log", "net", "os", "plugin", "reflect", "runtime", "sync", "syscall",
	"testing", "time", "vendor",
}

// isGoLibrary reports a call of Go's standard library, or of the module that makes
// system calls in its place.
func isGoLibrary(f fdscan.Frame) bool {
	if path.Ext(f.File) != ".go" && path.Ext(f.File) != ".s" {
		return false
	}
	if strings.HasPrefix(f.Function, "golang.org/x/sys/") {
		return true
	}
	// A standard package has no dot in the first element of its path, and stands
	// in a directory of that name below src, or is named by it.
	pkg, _, _ := strings.Cut(f.Function, ".")
	first, _, _ := strings.Cut(pkg, "/")
	return slices.Contains(goLibrary, first) &&
		(strings.HasPrefix(f.File, first+"/") || strings.Contains(f.File, "/src/"+first+"/"))
}

// isInterpreter reports a call of an interpreter, which tells nothing of what it
// interprets, or of what it has compiled just then.
func isInterpreter(f fdscan.Frame) bool {
	return f.Module == "[anonymous]" || interpreted(f) != "" || isExtension(f)
}

// interpreters are what programs and libraries interpret, by their names without a
// version.
var interpreters = map[string]string{
	"python": "Python code", "libpython": "Python code", "perl": "Perl code", "libperl": "Perl code", "ruby": "Ruby code", "libruby": "Ruby code",
	"php": "PHP code", "node": "JavaScript", "java": "Java code", "libjvm": "Java code", "bash": "a shell script", "dash": "a shell script", "busybox": "a shell script", "zsh": "a shell script", "ksh": "a shell script", "mksh": "a shell script",
	"nodejs": "JavaScript", "deno": "JavaScript", "bun": "JavaScript", "lua": "Lua code", "luajit": "Lua code", "liblua": "Lua code",
}

// interpreted is what the module of a call interprets; "" when it is no interpreter.
func interpreted(f fdscan.Frame) string {
	name, _, _ := strings.Cut(path.Base(f.Module), ".so")
	return interpreters[strings.TrimRight(name, "0123456789.-")]
}

// isExtension reports a call of one of an interpreter's own libraries.
func isExtension(f fdscan.Frame) bool { return strings.Contains(f.Module, "/lib-dynload/") }
