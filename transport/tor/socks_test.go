package tor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// script is a SOCKS server that answers with what it was given.
type script struct {
	io.Reader
	got bytes.Buffer
}

func (s *script) Write(b []byte) (int, error) { return s.got.Write(b) }

func TestConnectSays(t *testing.T) {
	c := Circuit{"user", "pass"}
	onion := "vww6ybal4bd7szmgncyruucpgfkqahzddi37ktceo3ah7ngmcopnpyyd.onion"
	for _, tt := range []struct {
		host, want string
	}{
		{"storage.example.org", "\x03\x13storage.example.org\x0d\x81"},
		{onion, "\x03\x3e" + onion + "\x0d\x81"},
		{"192.0.2.7", "\x01\xc0\x00\x02\x07\x0d\x81"},
		{"::ffff:192.0.2.7", "\x01\xc0\x00\x02\x07\x0d\x81"},
		{"2001:db8::7", "\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x0d\x81"},
	} {
		s := &script{Reader: strings.NewReader("\x05\x02" + "\x01\x00" + "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00" + "the server's first bytes")}
		if err := connect(s, c, tt.host, 3457); err != nil {
			t.Errorf("%s: %v", tt.host, err)
		}
		if want := "\x05\x01\x02" + "\x01\x04user\x04pass" + "\x05\x01\x00" + tt.want; s.got.String() != want {
			t.Errorf("%s: said %q, want %q", tt.host, s.got.String(), want)
		}
		if rest, _ := io.ReadAll(s.Reader); string(rest) != "the server's first bytes" {
			t.Errorf("%s: what came after the reply is %q", tt.host, rest)
		}
	}
}

func TestConnectRefused(t *testing.T) {
	for answer, want := range map[string]string{
		"":                                     "EOF",
		"HTTP/1.1 400 Bad Request":             "it does not speak SOCKS5",
		"\x05\x00":                             "keep connections apart",
		"\x05\xff":                             "keep connections apart",
		"\x05\x02\x01\x01":                     "refused user and password",
		"\x05\x02\x01\x00\x05\x04\x00\x01":     "host unreachable through Tor",
		"\x05\x02\x01\x00\x05\xf0\x00\x01":     "descriptor can't be found",
		"\x05\x02\x01\x00\x05\xf8\x00\x01":     "calls 0xf8",
		"\x05\x02\x01\x00\x05\x00\x00\x07":     "of no known kind",
		"\x05\x02\x01\x00\x05\x00\x00\x01\x00": "EOF",
		"\x05\x02\x01\x00\x04\x00\x00\x01":     "it does not speak SOCKS5",
	} {
		err := connect(&script{Reader: strings.NewReader(answer)}, NewCircuit(), "example.org", 1)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("answered %q: %v, want %s", answer, err, want)
		}
	}
	for _, host := range []string{"", strings.Repeat("a", 256)} {
		if err := connect(&script{Reader: strings.NewReader("\x05\x02\x01\x00")}, NewCircuit(), host, 1); err == nil {
			t.Errorf("asked for a name of %d bytes", len(host))
		}
	}
}

func TestCircuitsDiffer(t *testing.T) {
	if a, b := NewCircuit(), NewCircuit(); a.user == b.user || a.password == b.password || a.user == a.password {
		t.Errorf("%v and %v", a, b)
	}
}

// TestDialGivesUp at a Tor that says nothing, when the context ends.
func TestDialGivesUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = Address(l.Addr().String()).Dial(ctx, NewCircuit(), "example.org", 1)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("dial through a silent Tor: %v", err)
	}
	l.Close()
	if _, err := Address(l.Addr().String()).Dial(t.Context(), NewCircuit(), "example.org", 1); !errors.Is(err, ErrNoTor) {
		t.Errorf("dial through no Tor: %v", err)
	}
}

func TestAddress(t *testing.T) {
	for _, good := range []Address{"127.0.0.1:9050", "[::1]:9050", "unix:/run/tor/control"} {
		if err := good.Validate(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []Address{"", "9050", "localhost:9050", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "unix:control", "/run/tor/control"} {
		if bad.Validate() == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// FuzzReadReply: no answer of a proxy makes it panic or read on after the end.
func FuzzReadReply(f *testing.F) {
	f.Add([]byte("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00rest"))
	f.Add([]byte("\x05\x00\x00\x03\x04name\x00\x00"))
	f.Add([]byte("\x05\xf0\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		if err := readReply(r); err == nil && (b[0] != socksVersion || b[1] != 0) {
			t.Errorf("%x is a success", b)
		}
		if read := len(b) - r.Len(); read > 4+1+maxSOCKSAddress+2 {
			t.Errorf("read %d bytes", read)
		}
	})
}
