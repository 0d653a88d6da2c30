package wiretest

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"stray/internal/testenv"
)

// NewSlow makes a wire on which each packet takes its time, as on the way to a
// satellite: the test itself carries them between two tun(4) devices. Its ends
// have the timeouts that everybody has.
func NewSlow(t testing.TB, delay time.Duration) *Wire {
	t.Helper()
	testenv.NeedNetNS(t)
	testenv.NeedTUN(t)
	ip := testenv.NeedTool(t, "ip", "iproute2")
	w := &Wire{Near: newEnd(t, "10.77.0.1", "near"), Far: newEnd(t, "10.77.0.2", "far")}
	near, far := w.Near.tun(t), w.Far.tun(t)
	for _, e := range []*End{w.Near, w.Far} {
		e.Run(t, ip, "address", "add", e.Address+"/24", "dev", e.Device)
		e.Run(t, ip, "link", "set", e.Device, "up")
	}
	carry(t, near, far, delay)
	carry(t, far, near, delay)
	return w
}

// tun makes the device of e.
func (e *End) tun(t testing.TB) (device *os.File) {
	t.Helper()
	err := e.In(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return err
		}
		request, err := unix.NewIfreq(e.Device)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			unix.Close(fd)
			return err
		}
		device = os.NewFile(uintptr(fd), "tun")
		return nil
	})
	if err != nil {
		t.Fatalf("make a tun device: %v", err)
	}
	t.Cleanup(func() { device.Close() })
	return device
}

// carry takes packets from one device to the other, each after the delay and in
// their order, until the devices are closed.
func carry(t testing.TB, from, to *os.File, delay time.Duration) {
	type packet struct {
		due  time.Time
		data []byte
	}
	way := make(chan packet, 1<<12)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for p := range way {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data)
		}
	}()
	go func() {
		defer close(way)
		for {
			data := make([]byte, 2048)
			n, err := from.Read(data)
			if err != nil {
				return
			}
			way <- packet{time.Now().Add(delay), data[:n]}
		}
	}()
	t.Cleanup(func() {
		from.Close()
		<-done
	})
}
