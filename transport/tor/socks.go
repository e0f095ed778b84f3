package tor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// ErrNoTor means that nobody who speaks as Tor does answers at a port.
var ErrNoTor = errors.New("Tor does not answer") //nolint:staticcheck // a name

// Circuit is what Tor keeps apart: streams of one circuit may share one in
// Tor, those of two never do.
type Circuit struct{ user, password string }

// NewCircuit makes one that nobody else has.
func NewCircuit() Circuit {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return Circuit{hex.EncodeToString(b[:16]), hex.EncodeToString(b[16:])}
}

// User is the name under which Tor's control port lists the circuit
// (SOCKS_USERNAME).
func (c Circuit) User() string { return c.user }

// RFC 1928 and 1929.
const (
	socksVersion    = 5
	authVersion     = 1
	methodPassword  = 2
	commandConnect  = 1
	addressIPv4     = 1
	addressName     = 3
	addressIPv6     = 4
	maxSOCKSAddress = 255
)

// Dial connects to a port of host, an IP address, a name, or an onion address
// with .onion, through the SOCKS port a. What Tor refuses is a Refusal.
func (a Address) Dial(ctx context.Context, c Circuit, host string, port uint16) (net.Conn, error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w at %s: %w", ErrNoTor, a, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = connect(conn, c, host, port)
	if !stop() {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err != nil {
		conn.Close()
		return nil, explain(ctx, a, err)
	}
	return conn, nil
}

// explain says in one sentence why there is no connection.
func explain(ctx context.Context, a Address, err error) error {
	var refused Refusal
	switch {
	case errors.As(err, &refused):
		return refused
	case ctx.Err() != nil:
		return fmt.Errorf("through Tor: %w", ctx.Err())
	}
	return fmt.Errorf("%w at %s as a SOCKS port: %w", ErrNoTor, a, err)
}

// connect is the client's side of SOCKS5.
func connect(rw io.ReadWriter, c Circuit, host string, port uint16) error {
	if _, err := rw.Write([]byte{socksVersion, 1, methodPassword}); err != nil {
		return err
	}
	if err := expect(rw, socksVersion, methodPassword, "it takes no user and password, so it would not keep connections apart"); err != nil {
		return err
	}
	login := append([]byte{authVersion, byte(len(c.user))}, c.user...)
	login = append(append(login, byte(len(c.password))), c.password...)
	if _, err := rw.Write(login); err != nil {
		return err
	}
	if err := expect(rw, authVersion, 0, "it refused user and password"); err != nil {
		return err
	}
	request, err := appendAddress([]byte{socksVersion, commandConnect, 0}, host)
	if err != nil {
		return err
	}
	if _, err := rw.Write(append(request, byte(port>>8), byte(port))); err != nil {
		return err
	}
	return readReply(rw)
}

func expect(r io.Reader, version, answer byte, otherwise string) error {
	var b [2]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return err
	}
	if b[0] != version {
		return errors.New("it does not speak SOCKS5")
	}
	if b[1] != answer {
		return errors.New(otherwise)
	}
	return nil
}

func appendAddress(b []byte, host string) ([]byte, error) {
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		if ip.Is4() {
			return append(append(b, addressIPv4), ip.AsSlice()...), nil
		}
		return append(append(b, addressIPv6), ip.AsSlice()...), nil
	}
	if host == "" || len(host) > maxSOCKSAddress {
		return nil, fmt.Errorf("a name of %d bytes can't be asked for", len(host))
	}
	return append(append(b, addressName, byte(len(host))), host...), nil
}

// readReply reads the answer to a request, and no byte after it.
func readReply(r io.Reader) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	if head[0] != socksVersion {
		return errors.New("it does not speak SOCKS5")
	}
	if head[1] != 0 {
		return Refusal(head[1])
	}
	length := 0
	switch head[3] {
	case addressIPv4:
		length = 4
	case addressIPv6:
		length = 16
	case addressName:
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return err
		}
		length = int(n[0])
	default:
		return errors.New("its answer has an address of no known kind")
	}
	_, err := io.CopyN(io.Discard, r, int64(length+2)) // where it is connected from
	return err
}

// Refusal is why Tor made no connection: a reply code of RFC 1928, or one of
// Tor's own from 0xF0 on, which a SOCKS port with ExtendedErrors gives.
type Refusal byte

var refusals = map[Refusal]string{
	0x01: "Tor could not do it",
	0x02: "Tor's settings or the exit's do not allow it",
	0x03: "network unreachable from the exit",
	0x04: "host unreachable through Tor: there is no such name or onion service, or it is off",
	0x05: "connection refused at the other end",
	0x06: "timed out within Tor",
	0x07: "Tor does not know the command",
	0x08: "Tor does not know the kind of address",
	0xF0: "the onion service's descriptor can't be found: it is off, or its address is wrong",
	0xF1: "the onion service's descriptor is invalid",
	0xF2: "the onion service could not be asked: introduction failed",
	0xF3: "the onion service did not come to the meeting point: rendezvous failed",
	0xF4: "the onion service wants an authorization that Tor does not have",
	0xF5: "the onion service does not accept Tor's authorization for it",
	0xF6: "the onion address is not valid",
	0xF7: "the onion service could not be asked: introduction timed out",
}

// Error is a sentence.
func (r Refusal) Error() string {
	if text, ok := refusals[r]; ok {
		return text
	}
	return fmt.Sprintf("Tor refused for a reason that it calls %#02x", byte(r))
}
