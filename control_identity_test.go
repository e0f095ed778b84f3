package tarn_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/p2p"
	"github.com/tarn-grid/tarn/transport/wire"
)

// spy is whoever a node connects to: it notes every identity and every frame.
type spy struct {
	key      ed25519.PrivateKey
	listener transport.Listener

	mu    sync.Mutex
	seen  bytes.Buffer
	kinds map[wire.Kind]int
	more  chan struct{} // one token when there is something new
}

func newSpy(t *testing.T) *spy {
	t.Helper()
	s := &spy{key: newKey(t), kinds: map[wire.Kind]int{}, more: make(chan struct{}, 1)}
	l, err := p2p.Listen(s.key, []string{"/ip4/127.0.0.1/tcp/0"}, p2p.Options{}, s.accept)
	if err != nil {
		t.Fatal(err)
	}
	s.listener = l
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *spy) id() grid.ServerID { return grid.ServerID(grid.PublicKeyOf(s.key)) }

func (s *spy) accept(session transport.Session) transport.SessionEvents {
	remote := session.Remote()
	s.note(nil, remote[:], []byte(remote.String()), []byte(session.Address()))
	session.Admit()
	return transport.SessionEvents{Incoming: func(c transport.Conversation, p transport.Protocol) (transport.Handler, int) {
		s.note(nil, []byte(p))
		return func(ev transport.Event) {
			if m, ok := ev.(transport.Received); ok {
				s.frame(c, m.Frame)
			}
		}, 1000
	}}
}

// frame notes what came, and refuses it, so that all there is is tried.
func (s *spy) frame(c transport.Conversation, f wire.Frame) {
	head, err := f.AppendHead(nil)
	if err != nil {
		panic(err)
	}
	s.note(f.Message, head, f.Bytes())
	f.Release()
	var answer wire.Message = wire.NewError(wire.NotAccepted, "no")
	if _, hello := f.Message.(*wire.Hello); hello {
		answer = &wire.Hello{Version: wire.Version, MaxRequests: 8}
	}
	if f.ID != 0 {
		c.Send(wire.Frame{ID: f.ID, Answer: true, Message: answer})
	}
}

func (s *spy) note(m wire.Message, parts ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range parts {
		s.seen.Write(p)
		s.seen.WriteByte(0)
	}
	if m != nil {
		s.kinds[m.Kind()]++
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// until waits for so many messages of a kind.
func (s *spy) until(t *testing.T, kind wire.Kind, n int) {
	t.Helper()
	for {
		s.mu.Lock()
		got := s.kinds[kind]
		s.mu.Unlock()
		if got >= n {
			return
		}
		select {
		case <-s.more:
		case <-t.Context().Done():
			t.Fatalf("%d messages of kind %v", got, kind)
		}
	}
}

// has reports whether a key was ever there, in any of the forms that keys have.
func (s *spy) has(key []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return hasKey(s.seen.Bytes(), key)
}

func hasKey(text, key []byte) bool {
	for _, form := range [][]byte{key, []byte(grid.EncodeBase32(key)), []byte(hex.EncodeToString(key))} {
		if bytes.Contains(text, form) {
			return true
		}
	}
	return false
}

// TestControlIdentityIsShownToNobody: a node with every role connects to a server
// and an introducer that take down all they see, and to itself. Nobody sees the
// control identity, in any form; other keys are seen, so it would be.
func TestControlIdentityIsShownToNobody(t *testing.T) {
	server, introducer := newSpy(t), newSpy(t)
	control, storage, account := newKey(t), newKey(t), newAccount(t)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	clause := fmt.Sprintf("%s: {announcement: {addresses: [%q]}}\n", server.id(), string(server.listener.Hints()[0]))
	if err := os.WriteFile(filepath.Join(dir, "private", "servers.yaml"), []byte(clause), 0o600); err != nil {
		t.Fatal(err)
	}
	loopback := []string{"/ip4/127.0.0.1/tcp/0"}
	n, err := tarn.Open(t.Context(), tarn.Config{
		Dir: dir, Control: control, Introducers: []tarn.IntroducerRef{{Server: introducer.id(), Hints: introducer.listener.Hints()}},
		Client:     &tarn.ClientConfig{Params: file.DefaultParams(), Account: account},
		Storage:    &tarn.StorageConfig{Key: storage, Listen: loopback},
		Introducer: &tarn.IntroducerConfig{Key: newKey(t), Listen: loopback},
		Manager:    &tarn.ManagerConfig{Key: newKey(t), Listen: loopback},
		Helper:     &tarn.HelperConfig{Key: newKey(t), Listen: loopback, Space: 1 << 20},
		Aggregator: &tarn.AggregatorConfig{Interval: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.until(t, wire.KindLogin, 2) // of client and aggregator
	server.until(t, wire.KindLoginWithoutKey, 2)
	introducer.until(t, wire.KindPublish, 1)
	introducer.until(t, wire.KindSubscribe, 3) // of client, helper and aggregator
	status, err := n.Status(t.Context())
	if err != nil || status.Control != grid.PublicKeyOf(control) {
		t.Errorf("the node's own status says %v, %v", status.Control, err)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	ours, storageKey, secret := account.PublicKey(server.id()), grid.PublicKeyOf(storage), grid.PublicKeyOf(control)
	if !server.has(ours[:]) || !introducer.has(storageKey[:]) {
		t.Fatal("the spies see nothing")
	}
	for _, key := range [][]byte{secret[:], control.Seed()} {
		if server.has(key) || introducer.has(key) {
			t.Error("the control identity was shown")
		}
		for _, path := range files(t, dir) {
			if content, err := os.ReadFile(path); err == nil && hasKey(content, key) {
				t.Errorf("it stands in %s", strings.TrimPrefix(path, dir))
			}
		}
	}
}

// files are all of a folder.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
