//go:build integration

package nat_test

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// oneWay is how long a packet takes over the wire of a network that is far.
const oneWay = 10 * time.Millisecond

// From linux/if_packet.h.
const (
	packetVnetHdr  = 15
	packetOutgoing = 4
	vnetHdr        = 10 // bytes before a frame, which say what is left to the card
)

// far puts a wire on which packets take their time in the place of the bridge,
// between those that have been plugged in.
func (n *network) far(t *testing.T) {
	t.Helper()
	out, err := exec.Command("ip", "netns", "exec", n.name(wire), "ls", "/sys/class/net").Output()
	if err != nil {
		t.Fatal(err)
	}
	var plugs []string
	for _, name := range strings.Fields(string(out)) {
		if strings.HasPrefix(name, "p-") {
			plugs = append(plugs, name)
			n.run("ip", "-n", n.name(wire), "link", "set", name, "nomaster", "up")
		}
	}
	n.run("ip", "-n", n.name(wire), "link", "del", "br0")
	n.peer(t, wire, "wire "+strings.Join(plugs, " "))
}

// plug is one end of the wire.
type plug struct {
	fd    int
	index int
}

// beWire passes each frame on to all other plugs, a little later.
func beWire(names []string) error {
	var plugs []plug
	for _, name := range names {
		p, err := open(name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		plugs = append(plugs, p)
	}
	for _, from := range plugs {
		go from.pass(plugs)
	}
	return said("ready")
}

func open(name string) (plug, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return plug{}, err
	}
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, syscall.ETH_P_ALL))
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, int(all))
	if err != nil {
		return plug{}, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_PACKET, packetVnetHdr, 1); err != nil {
		return plug{}, err
	}
	return plug{fd, link.Index}, syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: all, Ifindex: link.Index})
}

func (p plug) pass(to []plug) {
	for {
		b := make([]byte, 128<<10)
		n, from, err := syscall.Recvfrom(p.fd, b, 0)
		if err != nil {
			fmt.Fprintln(os.Stderr, "wire:", err)
			return
		}
		if link, ok := from.(*syscall.SockaddrLinklayer); !ok || link.Pkttype == packetOutgoing || n <= vnetHdr {
			continue
		}
		time.AfterFunc(oneWay, func() {
			for _, other := range to {
				if other != p {
					_, _ = syscall.Write(other.fd, b[:n]) // a wire loses what does not fit
				}
			}
		})
	}
}
