package rules_test

import (
	"fmt"
	"math"
	"testing"

	"stray/fdscan"
)

func TestFD204(t *testing.T) {
	server := process(10, 1, "server")
	for _, tt := range []struct {
		open  int
		limit uint64
		want  string
	}{
		{799, 1000, ""},
		{800, 1000, "FD204 warning 10: pid 10 (server) has 800 descriptors open, 80 % of the 1000 that its limit allows: 700 socket, 60 pipe, 40 eventfd"},
		{950, 1000, "FD204 warning 10: pid 10 (server) has 950 descriptors open, 95 % of the 1000 that its limit allows: 850 socket, 60 pipe, 40 eventfd"},
		{960, 1000, "FD204 error 10: pid 10 (server) has 960 descriptors open, 96 % of the 1000 that its limit allows: 860 socket, 60 pipe, 40 eventfd"},
		{7999, 10_000, ""},
		{9499, 10_000, "FD204 warning 10: pid 10 (server) has 9499 descriptors open, 94.9 % of the 10000 that its limit allows: 9399 socket, 60 pipe, 40 eventfd"},
		{953, 1000, "FD204 error 10: pid 10 (server) has 953 descriptors open, 95.3 % of the 1000 that its limit allows: 853 socket, 60 pipe, 40 eventfd"},
		{5000, math.MaxUint64, ""},
		{5000, 0, ""},
		{120, 16, ""}, // it confines itself
	} {
		t.Run(fmt.Sprint(tt.open, tt.limit), func(t *testing.T) {
			m := newMachine(server)
			m.Tables = []*fdscan.Table{{Process: server, Open: tt.open, Limit: tt.limit, Kinds: map[string]int{"pipe": 60, "socket": tt.open - 100, "eventfd": 40}}}
			if tt.want == "" {
				m.says(t)
			} else {
				m.says(t, tt.want)
			}
		})
	}
}
