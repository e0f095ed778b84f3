package tor

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// torToy is a control port with one way to log in.
type torToy struct {
	auth     string // the line after 250-AUTH
	password string
	cookie   []byte
	lies     bool // it does not know the cookie that it names
	address  Address
	close    func()

	mu    sync.Mutex
	asked []string
	conns []net.Conn
}

func (y *torToy) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y.address = Address(l.Addr().String())
	var group sync.WaitGroup
	y.close = sync.OnceFunc(func() { l.Close(); y.drop(); group.Wait() })
	t.Cleanup(y.close)
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			y.mu.Lock()
			y.conns = append(y.conns, c)
			y.mu.Unlock()
			group.Go(func() { y.talk(c) })
		}
	})
}

// drop ends all connections, as a Tor does that ends.
func (y *torToy) drop() {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, c := range y.conns {
		c.Close()
	}
	y.conns = nil
}

func (y *torToy) talk(c net.Conn) {
	defer c.Close()
	proof := ""
	for in := bufio.NewScanner(c); in.Scan(); {
		verb, rest, _ := strings.Cut(in.Text(), " ")
		y.mu.Lock()
		y.asked = append(y.asked, verb)
		y.mu.Unlock()
		answer := "510 Unrecognized command"
		switch verb {
		case "PROTOCOLINFO":
			answer = "250-PROTOCOLINFO 1\r\n250-AUTH " + y.auth + "\r\n250-VERSION Tor=\"0.4.9.11\"\r\n250 OK"
		case "AUTHCHALLENGE":
			answer, proof = y.challenge(rest)
		case "AUTHENTICATE":
			answer = "515 Authentication failed"
			if rest == proof || y.password != "" && rest == hex.EncodeToString([]byte(y.password)) {
				answer = "250 OK"
			}
		case "GETINFO":
			answer = "650 EVENT that nobody asked for\r\n250+" + rest + "=\r\n1 BUILT\r\n..dotted\r\n.\r\n250 OK"
		case "ADD_ONION":
			answer = "250-ServiceID=" + onionName(onionKey) + "\r\n250 OK"
		}
		fmt.Fprint(c, answer+"\r\n")
	}
}

func (y *torToy) challenge(text string) (answer, proof string) {
	ours, _ := hex.DecodeString(strings.TrimPrefix(text, "SAFECOOKIE "))
	theirs := bytes.Repeat([]byte{7}, 32)
	cookie := y.cookie
	if y.lies {
		cookie = make([]byte, cookieSize)
	}
	sum := func(key string) string {
		m := hmac.New(sha256.New, []byte(key))
		m.Write(cookie)
		m.Write(ours)
		m.Write(theirs)
		return hex.EncodeToString(m.Sum(nil))
	}
	return "250 AUTHCHALLENGE SERVERHASH=" + sum(serverHash) + " SERVERNONCE=" + hex.EncodeToString(theirs), sum(controllerHash)
}

var onionKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))

func TestControlLogin(t *testing.T) {
	cookie := bytes.Repeat([]byte{5}, cookieSize)
	path := filepath.Join(t.TempDir(), `a "cookie" file`)
	if err := os.WriteFile(path, cookie, 0o600); err != nil {
		t.Fatal(err)
	}
	byCookie := fmt.Sprintf("METHODS=COOKIE,SAFECOOKIE COOKIEFILE=%q", path)
	for name, c := range map[string]struct {
		toy      *torToy
		password string
		want     string // of the error
	}{
		"nothing":               {&torToy{auth: "METHODS=NULL"}, "", ""},
		"cookie":                {&torToy{auth: byCookie, cookie: cookie}, "", ""},
		"another cookie":        {&torToy{auth: byCookie, cookie: cookie, lies: true}, "", "does not know Tor's cookie"},
		"no cookie file":        {&torToy{auth: `METHODS=SAFECOOKIE COOKIEFILE="/nowhere/cookie"`}, "", "may this user?"},
		"only plain cookie":     {&torToy{auth: strings.Replace(byCookie, ",SAFECOOKIE", "", 1)}, "", "wants one of COOKIE"},
		"password":              {&torToy{auth: "METHODS=HASHEDPASSWORD,SAFECOOKIE", password: "open"}, "open", ""},
		"wrong password":        {&torToy{auth: "METHODS=HASHEDPASSWORD", password: "open"}, "shut", "Tor refused at its control port: 515 Authentication failed"},
		"no password":           {&torToy{auth: "METHODS=HASHEDPASSWORD", password: "open"}, "", "none is set"},
		"password and no place": {&torToy{auth: byCookie, cookie: cookie}, "open", ""},
	} {
		t.Run(name, func(t *testing.T) {
			y := c.toy
			y.start(t)
			conn, err := Control{Address: y.address, Password: c.password}.Dial(t.Context())
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("logged in with %v, want %s", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if lines, err := conn.Ask("circuit-status"); err != nil || strings.Join(lines, "|") != "1 BUILT|.dotted" {
				t.Errorf("circuit-status is %q, %v", lines, err)
			}
		})
	}
}

// TestServiceComesBack when Tor has ended and is there again.
func TestServiceComesBack(t *testing.T) {
	y := &torToy{auth: "METHODS=NULL"}
	y.start(t)
	lines, states := make(chan string, 10), make(chan error, 10)
	s := Control{Address: y.address}.Serve(onionKey, 3457, "127.0.0.1:1", slog.New(slog.NewTextHandler(lineWriter(lines), nil)), func(err error) { states <- err })
	defer s.Close()
	if err := <-states; !errors.Is(err, ErrNoTor) {
		t.Errorf("at first %v", err)
	}
	for range 2 {
		if line := <-lines; !strings.Contains(line, "the onion service is there") {
			t.Errorf("logged %s", line)
		}
		if err := <-states; err != nil {
			t.Errorf("there, and yet %v", err)
		}
		y.drop()
		if line := <-lines; !strings.Contains(line, "no onion service for now") {
			t.Errorf("logged %s", line)
		}
		if err := <-states; !errors.Is(err, ErrNoTor) {
			t.Errorf("gone, and yet %v", err)
		}
	}
	if line := <-lines; !strings.Contains(line, "the onion service is there") {
		t.Errorf("logged %s", line)
	}
}

// lineWriter sends each line.
type lineWriter chan string

func (w lineWriter) Write(b []byte) (int, error) {
	w <- string(b)
	return len(b), nil
}

// TestServiceWaits longer each time, and again a second once it was there.
func TestServiceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var at []time.Duration
		begun := time.Now()
		var last error
		s := &Service{changed: func(err error) { last = err }}
		s.keep(ctx, slog.New(slog.DiscardHandler), func(up func()) error {
			at = append(at, time.Since(begun))
			if len(at) == 9 {
				up()
			}
			if len(at) == 11 {
				cancel()
			}
			return ErrNoTor
		})
		want := "[0s 1s 3s 7s 15s 31s 1m3s 2m3s 3m3s 3m4s 3m6s]"
		if got := fmt.Sprint(at); got != want {
			t.Errorf("asked at %s, want %s", got, want)
		}
		if !errors.Is(last, ErrNoTor) {
			t.Errorf("says %v", last)
		}
	})
}

// The key of seed 01…01 and its address as Tor itself computed them.
func TestOnionName(t *testing.T) {
	if got := Hint(onionKey, 3457); got != "/onion3/rkeohxlubhyzl7ks3mwtzos5olfgocn7dwkbeg7toseadnapn5optfad:3457" {
		t.Errorf("%s", got)
	}
	for text, want := range map[string]uint16{"onion:3457": 3457, "onion:0": 0, "onion:": 0, "onion:03457": 0, "onion:65536": 0, "/ip4/127.0.0.1/tcp/1": 0, "3457": 0} {
		if port, ok := OnionPort(text); port != want || ok != (want != 0) {
			t.Errorf("%s is port %d, %v", text, port, ok)
		}
	}
}

// FuzzControlReply: no answer makes the parser panic, or keep more than it may.
func FuzzControlReply(f *testing.F) {
	f.Add("250 OK\r\n")
	f.Add("250-AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE=\"/run/tor/control.authcookie\"\r\n250 OK\r\n")
	f.Add("250+circuit-status=\r\n1 BUILT $AA~a PURPOSE=GENERAL SOCKS_USERNAME=\"x\"\r\n..\r\n.\r\n250 OK\r\n")
	f.Add("650 HS_DESC UPLOADED\r\n515 Authentication failed\n")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := readControlReply(bufio.NewReaderSize(strings.NewReader(s), maxLine))
		if err != nil {
			return
		}
		size := 0
		for i, line := range p.lines {
			values(line)
			size += len(line) + len(strings.Join(p.data[i], "\n"))
		}
		if size > len(s) || size > maxReply || len(p.lines) == 0 {
			t.Errorf("%q became %d bytes in %d lines", s, size, len(p.lines))
		}
	})
}
