//go:build integration

package tor_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// outsideIP is an address of the rest of the machine, which all namespaces reach.
const outsideIP = "10.213.77.1"

// namespace is a network of its own with one wire out of it, over which every
// packet is looked at. Nothing keeps packets from leaving: what a program sends
// is seen.
type namespace struct {
	t    *testing.T
	name string
}

// newNamespace makes one whose wire is the network 10.213.number.0; that of 77 has
// outsideIP.
func newNamespace(t *testing.T, number int) *namespace {
	t.Helper()
	id := fmt.Sprintf("%d-%d", os.Getpid(), number)
	n := &namespace{t: t, name: "tarn-tor-" + id}
	wire, outside, inside := "tt"+id, fmt.Sprintf("10.213.%d.1", number), fmt.Sprintf("10.213.%d.2", number)
	n.run("ip", "netns", "add", n.name)
	t.Cleanup(func() { n.run("ip", "netns", "del", n.name) })
	n.run("ip", "link", "add", wire, "type", "veth", "peer", "name", "out", "netns", n.name)
	n.run("ip", "addr", "add", outside+"/24", "dev", wire)
	n.run("ip", "link", "set", wire, "up")
	n.inside("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6") // it greets its neighbours unasked
	n.inside("ip", "addr", "add", inside+"/24", "dev", "out")
	n.inside("ip", "link", "set", "lo", "up")
	n.inside("ip", "link", "set", "out", "up")
	n.inside("ip", "route", "add", "default", "via", outside)
	return n
}

func (n *namespace) run(command ...string) {
	n.t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		n.t.Fatalf("%q (this test needs root): %v: %s", command, err, out)
	}
}

func (n *namespace) inside(command ...string) {
	n.t.Helper()
	n.run(append([]string{"ip", "netns", "exec", n.name}, command...)...)
}

// flow is what packets that leave have in common.
type flow struct {
	protocol uint8
	to       netip.AddrPort
}

// String is, for example, tcp to 10.213.77.1:9050.
func (f flow) String() string {
	name, ok := map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[f.protocol]
	if !ok {
		name = fmt.Sprintf("protocol %d", f.protocol)
	}
	return name + " to " + f.to.String()
}

// capture is what has left the namespace, over any of its interfaces.
type capture struct {
	stop func()

	mu    sync.Mutex
	flows map[flow]int // packets
}

// watch begins to look.
func (n *namespace) watch() *capture {
	n.t.Helper()
	fd, err := n.socket()
	if err != nil {
		n.t.Fatalf("look at packets: %v", err)
	}
	c := &capture{flows: map[flow]int{}}
	over, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		c.read(fd, over)
	}()
	c.stop = sync.OnceFunc(func() { close(over); <-done; _ = unix.Close(fd) })
	n.t.Cleanup(c.stop)
	return c
}

// socket is made in the namespace, and stays there.
func (n *namespace) socket() (fd int, err error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlock: the thread ends here
		var ns *os.File
		if ns, err = os.Open("/run/netns/" + n.name); err != nil {
			return
		}
		defer ns.Close()
		if err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		all := int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)))
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all); err != nil {
			return
		}
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000})
	}()
	<-ended
	return fd, err
}

func (c *capture) read(fd int, over chan struct{}) {
	b := make([]byte, 128)
	var last time.Time
	for {
		n, from, err := unix.Recvfrom(fd, b, unix.MSG_TRUNC)
		link, ok := from.(*unix.SockaddrLinklayer)
		if err == nil && ok && link.Pkttype == unix.PACKET_OUTGOING {
			c.add(b[:min(n, len(b))])
		}
		select {
		case <-over:
			if err != nil || time.Since(last) > time.Second {
				return
			}
		default:
			last = time.Now()
		}
	}
}

// add notes a packet. ARP is no IP, and is not about anybody but the wire.
func (c *capture) add(b []byte) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return
	}
	f := flow{protocol: b[9]}
	port := uint16(0)
	if header := int(b[0]&15) * 4; (f.protocol == unix.IPPROTO_TCP || f.protocol == unix.IPPROTO_UDP) && len(b) >= header+4 {
		port = binary.BigEndian.Uint16(b[header+2:])
	}
	f.to = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), port)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flows[f]++
}

// leaks are the flows so far to elsewhere than the ports that may be spoken to.
// It also says how many packets went there.
func (c *capture) leaks(allowed ...netip.AddrPort) (packets int, leaks []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f := range maps.Keys(c.flows) {
		if f.protocol == unix.IPPROTO_TCP && slices.Contains(allowed, f.to) {
			packets += c.flows[f]
		} else {
			leaks = append(leaks, f.String())
		}
	}
	slices.Sort(leaks)
	return packets, leaks
}
