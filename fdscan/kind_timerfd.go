package fdscan

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// TimerFD is a timer (timerfd_create(2)).
var TimerFD = registerKind(&Kind{
	Name: "timerfd", Title: "a timer (timerfd)", Says: "the clock, when it will expire, its interval, and how often it has expired since it was read", Links: []string{"anon_inode:[timerfd]"},
	tell: func(_ *lister, d *Descriptor) string {
		clocks := map[string]string{
			fmt.Sprint(unix.CLOCK_REALTIME): "realtime", fmt.Sprint(unix.CLOCK_MONOTONIC): "monotonic", fmt.Sprint(unix.CLOCK_BOOTTIME): "boottime",
			fmt.Sprint(unix.CLOCK_REALTIME_ALARM): "realtime alarm", fmt.Sprint(unix.CLOCK_BOOTTIME_ALARM): "boottime alarm",
		}
		clock := clocks[d.detail("clockid")]
		left, ok1 := timespec(d.detail("it_value"))
		interval, ok2 := timespec(d.detail("it_interval"))
		if !ok1 || !ok2 {
			return clock
		}
		next, every := "disarmed", ""
		switch ticks := d.detail("ticks"); {
		case left > 0:
			next = "in " + left.Round(time.Millisecond).String()
		case ticks != "0" && ticks != "":
			next = "expired"
		}
		if interval > 0 {
			every = "every " + interval.String()
		}
		return sentence(clock, next, every, unlessZero("expirations not read", d.detail("ticks")))
	},
})

// timespec reads "(89, 999948293)": seconds and nanoseconds.
func timespec(s string) (d time.Duration, ok bool) {
	var seconds, nanoseconds int64
	n, err := fmt.Sscanf(s, "(%d, %d)", &seconds, &nanoseconds)
	return time.Duration(seconds)*time.Second + time.Duration(nanoseconds), err == nil && n == 2
}
