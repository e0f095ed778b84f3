// Package tor speaks with a Tor that runs beside the node: to its SOCKS port,
// for connections that go out through it, and to its control port, for an
// onion service of the node's own.
//
// Names and onion addresses are given to Tor as they are and never looked up
// here. Every Circuit has a user and password of its own, by which Tor keeps
// connections apart (IsolateSOCKSAuth, which its SOCKS ports have unless told
// otherwise): two connections of different circuits share no exit and no
// rendezvous.
package tor

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// Address is where a port of Tor is: 127.0.0.1:9050, or unix: and a path.
type Address string

const unixPrefix = "unix:"

// Validate reports an address that can't be dialled. A name is none: to look
// it up would go past Tor.
func (a Address) Validate() error {
	if path, ok := strings.CutPrefix(string(a), unixPrefix); ok {
		if !filepath.IsAbs(path) {
			return fmt.Errorf("%q (want unix: and a whole path, such as unix:/run/tor/control)", a)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(string(a))
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || net.ParseIP(host) == nil {
		return fmt.Errorf("%q (want an IP address and a port such as 127.0.0.1:9050, or unix: and a path)", a)
	}
	return nil
}

func (a Address) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	if path, ok := strings.CutPrefix(string(a), unixPrefix); ok {
		return d.DialContext(ctx, "unix", path)
	}
	return d.DialContext(ctx, "tcp", string(a))
}
