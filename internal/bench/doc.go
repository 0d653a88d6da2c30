// Package bench measures stray beside ss, fuser, lsof and lsfd. It holds tests
// and benchmarks only.
//
// A benchmark builds a world: a pid, network and mount namespace with a known
// number of processes and descriptors, in which exactly three processes hold a
// listener on 127.0.0.1:18080. All commands run inside it, one after the
// other: a warm-up round, in which every answer is compared with the known
// holders, and then -benchtime rounds of stray, ss, fuser, lsof and lsfd in
// turn. What is reported is the median over the rounds of the peer's wall time
// divided by stray's in the same round, since times alone say nothing on
// another machine. A table of everything measured follows the last benchmark.
//
//	go test -run='^$' -bench=Who/medium -benchtime=7x ./internal/bench
//
// Needs root; a peer that is not installed is left out and said. Environment:
//
//	STRAY_BENCH_WORLDS  the worlds to build, such as "small,large", or "all";
//	                    by default small and threads, and those that -bench names
//	STRAY_BENCH_GATE=1  a ratio below its bar is a failure
package bench
