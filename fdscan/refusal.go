package fdscan

import "strings"

// WhyNoTracing says what keeps this process from tracing others, as far as /proc
// tells: a tracer of its own, or Yama; "" when neither does.
func (s *Scanner) WhyNoTracing() (why string) {
	l := &lookup{Scanner: s}
	_ = eachLine(l.path("self", "status"), func(line []byte) error {
		if tracer, ok := strings.CutPrefix(string(line), "TracerPid:"); ok && strings.TrimSpace(tracer) != "0" {
			why = "pid " + strings.TrimSpace(tracer) + " traces stray itself"
		}
		return nil
	})
	if scope := l.sysctl("kernel/yama/ptrace_scope"); why == "" && (scope == "2" || scope == "3") {
		why = "kernel.yama.ptrace_scope is " + scope
	}
	return why
}
