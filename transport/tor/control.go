package tor

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"
)

// ErrControl is wrapped by what Tor's control port refuses.
var ErrControl = errors.New("Tor refused at its control port") //nolint:staticcheck // a name

// Control is a control port and what it wants to be shown.
type Control struct {
	Address Address
	// Password is that of HashedControlPassword in Tor's settings. Without one,
	// Tor's cookie file is read, or nothing is shown where Tor wants nothing.
	Password string
}

// controlTimeout bounds one command.
const controlTimeout = 30 * time.Second

// Conn is an authenticated connection to the control port. One goroutine uses
// it at a time.
type Conn struct {
	net  net.Conn
	read *bufio.Reader
}

// Dial connects and authenticates.
func (c Control) Dial(ctx context.Context) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, controlTimeout)
	defer cancel()
	n, err := c.Address.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w at its control port %s: %w", ErrNoTor, c.Address, err)
	}
	conn := &Conn{net: n, read: bufio.NewReaderSize(n, maxLine)}
	stop := context.AfterFunc(ctx, func() { _ = n.SetDeadline(time.Unix(1, 0)) })
	err = conn.authenticate(c.Password)
	if !stop() {
		err = errors.Join(err, context.Cause(ctx))
	}
	if err != nil {
		n.Close()
		return nil, fmt.Errorf("log in at Tor's control port %s: %w", c.Address, err)
	}
	return conn, nil
}

// Close ends the connection, and with it the onion services made over it.
func (c *Conn) Close() error { return c.net.Close() }

// ask sends a command and returns the answer, if that is no refusal.
func (c *Conn) ask(command string) (reply, error) {
	if strings.ContainsAny(command, "\r\n") {
		return reply{}, errors.New("a command to Tor's control port is one line")
	}
	if _, err := io.WriteString(c.net, command+"\r\n"); err != nil {
		return reply{}, err
	}
	for {
		p, err := readControlReply(c.read)
		if err != nil {
			return reply{}, err
		}
		if p.code >= 600 {
			continue // an event that came between
		}
		if p.code/100 != 2 {
			return reply{}, fmt.Errorf("%w: %d %s", ErrControl, p.code, strings.Join(p.lines, "; "))
		}
		return p, nil
	}
}

// Ask sends GETINFO key, and returns the lines of the value.
func (c *Conn) Ask(key string) ([]string, error) {
	_ = c.net.SetDeadline(time.Now().Add(controlTimeout)) // a failure shows below
	p, err := c.ask("GETINFO " + key)
	if err != nil {
		return nil, fmt.Errorf("ask Tor for %s: %w", key, err)
	}
	for i, line := range p.lines {
		if value, ok := strings.CutPrefix(line, key+"="); ok {
			if data, ok := p.data[i]; ok {
				return data, nil
			}
			return []string{value}, nil
		}
	}
	return nil, fmt.Errorf("ask Tor for %s: %w", key, errReply)
}

// authenticate picks the best of the methods that Tor offers and that can be
// had here. COOKIE is not used: it would hand the file to whoever listens.
func (c *Conn) authenticate(password string) error {
	info, err := c.ask("PROTOCOLINFO 1")
	if err != nil {
		return err
	}
	auth, ok := info.find("AUTH ")
	if !ok {
		return errReply
	}
	offered := values(auth)
	methods := strings.Split(offered["METHODS"], ",")
	switch has := func(m string) bool { return slices.Contains(methods, m) }; {
	case password != "" && has("HASHEDPASSWORD"):
		_, err = c.ask("AUTHENTICATE " + hex.EncodeToString([]byte(password)))
	case has("NULL"):
		_, err = c.ask("AUTHENTICATE")
	case has("SAFECOOKIE"):
		err = c.showCookie(offered["COOKIEFILE"])
	case has("HASHEDPASSWORD"):
		err = errors.New("it wants a password, and none is set")
	default:
		err = fmt.Errorf("it wants one of %s, which can't be had here", strings.Join(methods, ", "))
	}
	return err
}

// Keys of the HMACs of SAFECOOKIE (control-spec 3.24).
const (
	serverHash     = "Tor safe cookie authentication server-to-controller hash"
	controllerHash = "Tor safe cookie authentication controller-to-server hash"
	cookieSize     = 32
)

// showCookie proves that this process can read Tor's cookie file, once Tor has
// proved that it knows the cookie.
func (c *Conn) showCookie(path string) error {
	cookie, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read Tor's cookie (may this user?): %w", err)
	}
	if len(cookie) != cookieSize {
		return fmt.Errorf("%s is no cookie of Tor: %d bytes", path, len(cookie))
	}
	var ours [32]byte
	_, _ = rand.Read(ours[:]) // never fails
	p, err := c.ask("AUTHCHALLENGE SAFECOOKIE " + hex.EncodeToString(ours[:]))
	if err != nil {
		return err
	}
	challenge, _ := p.find("AUTHCHALLENGE ")
	answered := values(challenge)
	hash, err1 := hex.DecodeString(answered["SERVERHASH"])
	theirs, err2 := hex.DecodeString(answered["SERVERNONCE"])
	if err1 != nil || err2 != nil || len(theirs) != 32 {
		return errReply
	}
	proof := func(key string) []byte {
		m := hmac.New(sha256.New, []byte(key))
		_, _ = m.Write(slices.Concat(cookie, ours[:], theirs)) // never fails
		return m.Sum(nil)
	}
	if !hmac.Equal(hash, proof(serverHash)) {
		return errors.New("who listens there does not know Tor's cookie")
	}
	_, err = c.ask("AUTHENTICATE " + hex.EncodeToString(proof(controllerHash)))
	return err
}

// addOnion makes an onion service that lasts as long as the connection: what
// comes to its port goes to target, host:port.
func (c *Conn) addOnion(key ed25519.PrivateKey, port uint16, target string) error {
	_ = c.net.SetDeadline(time.Now().Add(controlTimeout)) // a failure shows below
	p, err := c.ask(fmt.Sprintf("ADD_ONION ED25519-V3:%s Port=%d,%s", expanded(key), port, target))
	if err != nil {
		return fmt.Errorf("make the onion service: %w", err)
	}
	if id, _ := p.find("ServiceID="); id != onionName(key) {
		return fmt.Errorf("make the onion service: %w: it is called %q", errReply, id)
	}
	return c.net.SetDeadline(time.Time{})
}

// wait returns when the connection ends.
func (c *Conn) wait() error {
	for {
		if _, err := readControlReply(c.read); err != nil {
			return err
		}
	}
}

// expanded is the key in the form in which Tor takes it: the 64 bytes of RFC
// 8032 5.1.5 that are made of the seed.
func expanded(key ed25519.PrivateKey) string {
	h := sha512.Sum512(key.Seed())
	h[0] &= 248
	h[31] = h[31]&63 | 64
	return base64.StdEncoding.EncodeToString(h[:])
}
