package fdscan

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"stray/internal/sockdiag"
)

// Scanner looks at one machine. The zero value looks at this one through
// /proc; every field can be set to look at another, or less well.
type Scanner struct {
	// Root is the mount point of proc(5); "" for "/proc".
	Root string
	// Walker finds descriptors; nil for a BPFWalker on Root, or a ProcWalker
	// where that is not possible.
	Walker Walker
	// NoBPF has tables read through Root only.
	NoBPF bool
	// Dial opens sock_diag in the caller's network namespace; nil for
	// sockdiag.Dial.
	Dial func() (*sockdiag.Conn, error)
	// DialIn opens it in another namespace; nil for sockdiag.DialIn.
	DialIn func(nsfd int) (*sockdiag.Conn, error)
	// Kernel is the release to go by, such as "6.1.0"; "" for what Root says.
	Kernel string
	// Detached says that Root is not the running machine's: nothing is asked
	// of the kernel about its pids (kcmp, pidfd_getfd).
	Detached bool
}

// Question is what Scanner.Lookup answers.
type Question struct {
	Targets []Target
	// PIDs limits holders to these processes; empty for all.
	PIDs []int
	// Deep also looks where every descriptor must be touched: for sockets of
	// network namespaces without a process, and for messages in flight of
	// sockets that have other holders.
	Deep bool
}

func (s *Scanner) root() string {
	if s.Root == "" {
		return "/proc"
	}
	return s.Root
}

func (s *Scanner) path(elem ...string) string {
	return filepath.Join(append([]string{s.root()}, elem...)...)
}

func (s *Scanner) walker() Walker {
	switch walk := (ProcWalker{Root: s.root()}); {
	case s.Walker != nil:
		return s.Walker
	case s.NoBPF || s.Detached:
		return walk
	default:
		return BPFWalker{ProcWalker: walk}
	}
}

func (s *Scanner) dial() (*sockdiag.Conn, error) {
	if s.Dial == nil {
		return sockdiag.Dial()
	}
	return s.Dial()
}

func (s *Scanner) dialIn(nsfd int) (*sockdiag.Conn, error) {
	if s.DialIn == nil {
		return sockdiag.DialIn(nsfd)
	}
	return s.DialIn(nsfd)
}

// Lookup answers q: which sockets and files the targets name, and who holds
// them. What could not be seen is in Snapshot.Gaps; the error is for what made
// any answer impossible: a file target that does not exist (a *TargetError),
// /proc missing, or ctx ended.
func (s *Scanner) Lookup(ctx context.Context, q Question) (*Snapshot, error) {
	l := &lookup{Scanner: s, ctx: ctx, question: q, snap: &Snapshot{Processes: map[int]*Process{}, TablesComplete: true, HoldersComplete: true}}
	if err := l.host(); err != nil {
		return nil, err
	}
	if err := l.resolveFiles(); err != nil {
		return nil, err
	}
	found, _ := l.tables(ctx)
	for _, s := range found {
		l.add(s)
	}
	if err := l.holders(ctx); err != nil {
		return nil, err
	}
	if err := l.evidence(); err != nil {
		return nil, err
	}
	l.finish()
	return l.snap, nil
}

// lookup is the work on one Question.
type lookup struct {
	*Scanner
	ctx      context.Context // that of Lookup
	question Question
	survey   *survey // what a survey asks besides; nil for a Question alone
	// everySocket says that the tables are wanted whole (List).
	everySocket bool
	snap        *Snapshot
	files       map[FileID]*Object
	// sockets are those of the answer, by inode; never those with inode 0. The
	// subflows of an MPTCP connection share one.
	sockets map[uint64][]*Socket
	known   map[socketID]bool
	// unixFiles are the files of unix targets given by path.
	unixFiles map[FileID]bool
	mu        sync.Mutex // of what follows, while processes are read side by side
	users     map[uint32]string
	cgroups   map[string]cgroup
	gaps      map[Gap]bool
	held      map[holding]bool
	withRing  map[int]bool // processes with a descriptor of an io_uring instance
	// others are the network namespaces besides the caller's.
	others          []namespace
	namespacesKnown bool
}

// gap notes what could not be seen, once.
func (l *lookup) gap(g Gap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gaps[g] {
		return
	}
	if l.gaps == nil {
		l.gaps = map[Gap]bool{}
	}
	l.gaps[g] = true
	l.snap.Gaps = append(l.snap.Gaps, g)
	switch g.Scope {
	case ScopeTables:
		l.snap.TablesComplete = false
	case ScopeHolders:
		l.snap.HoldersComplete = false
	}
}

// resolveFiles looks the file targets up, before anything else is done.
func (l *lookup) resolveFiles() error {
	for _, t := range l.question.Targets {
		if t.Kind == UnixTarget && t.Path[0] != '@' {
			// The name is what counts: it outlives the file. The file helps
			// where the socket was bound under another name.
			if info, err := os.Stat(t.Path); err == nil {
				id, _ := fileID(info)
				if l.unixFiles == nil {
					l.unixFiles = map[FileID]bool{}
				}
				l.unixFiles[id] = true
			}
		}
		if t.Kind != FileTarget {
			continue
		}
		info, err := os.Stat(t.Path)
		if err != nil {
			return &TargetError{Text: t.Text, Reason: reason(err)}
		}
		id, kind := fileID(info)
		if l.files == nil {
			l.files = map[FileID]*Object{}
		}
		if l.files[id] == nil {
			o := &Object{Path: t.Path, Inode: id.Inode, Device: id.Device, Kind: kind}
			l.files[id] = o
			l.snap.Objects = append(l.snap.Objects, o)
		}
	}
	return nil
}
