package fdscan

import "testing"

func TestCompareAge(t *testing.T) {
	type made struct {
		pid   int
		ticks uint64
	}
	for _, c := range []struct{ elder, younger made }{
		{made{20, 5}, made{10, 6}},
		{made{10, 5}, made{20, 5}},
		{made{32767, 5}, made{301, 5}}, // the numbers began anew
		{made{4194303, 5}, made{301, 5}},
	} {
		elder := &Process{PID: c.elder.pid, StartTicks: c.elder.ticks}
		younger := &Process{PID: c.younger.pid, StartTicks: c.younger.ticks}
		if CompareAge(elder, younger) >= 0 || CompareAge(younger, elder) <= 0 || CompareAge(elder, elder) != 0 {
			t.Errorf("%+v and %+v: %d, %d, %d", c.elder, c.younger, CompareAge(elder, younger), CompareAge(younger, elder), CompareAge(elder, elder))
		}
	}
}
