package tor

import (
	"context"
	"crypto/ed25519"
	"crypto/sha3"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// listenPrefix and a port, in place of an address to listen at, is an onion
// service of the node's own.
const listenPrefix = "onion:"

// OnionPort reads onion:3457. ok is false for any other text.
func OnionPort(listen string) (port uint16, ok bool) {
	text, ok := strings.CutPrefix(listen, listenPrefix)
	n, err := strconv.ParseUint(text, 10, 16)
	if !ok || err != nil || n == 0 || strconv.FormatUint(n, 10) != text {
		return 0, false
	}
	return uint16(n), true
}

// Hint is the address of the onion service that the key makes.
func Hint(key ed25519.PrivateKey, port uint16) grid.Hint {
	return grid.Hint(fmt.Sprintf("/onion3/%s:%d", onionName(key), port))
}

// onionName is the 56 characters before .onion (rend-spec-v3 6).
func onionName(key ed25519.PrivateKey) string {
	const version = 3
	public := grid.PublicKeyOf(key)
	sum := sha3.Sum256([]byte(".onion checksum" + string(public[:]) + string(byte(version))))
	return grid.EncodeBase32(append(append(public[:], sum[:2]...), version))
}

// Service keeps an onion service alive: it makes it anew when Tor comes back.
type Service struct {
	cancel  context.CancelFunc
	done    chan struct{}
	changed func(error)
}

// Waits before Tor is asked again: from the first on doubled up to the last.
const (
	firstWait = time.Second
	lastWait  = time.Minute
)

// errStarting is why there is no service until Tor has answered.
var errStarting = fmt.Errorf("%w yet", ErrNoTor)

// Serve makes the onion service of key: what comes to its port goes to target,
// host:port on this machine. It returns at once. changed hears why the
// service is not there, at first and each time that it was tried for, and nil
// when it is.
func (c Control) Serve(key ed25519.PrivateKey, port uint16, target string, log *slog.Logger, changed func(error)) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Service{cancel: cancel, done: make(chan struct{}), changed: changed}
	changed(errStarting)
	go func() {
		defer close(s.done)
		s.keep(ctx, log.With("address", Hint(key, port)), func(up func()) error {
			return c.serve(ctx, key, port, target, up)
		})
	}()
	return s
}

// Close ends the service.
func (s *Service) Close() {
	s.cancel()
	<-s.done
}

// serve makes the service once, and returns when it has ended.
func (c Control) serve(ctx context.Context, key ed25519.PrivateKey, port uint16, target string, up func()) error {
	conn, err := c.Dial(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer func() { _ = conn.Close() }() // the service has ended either way
	if err := conn.addOnion(key, port, target); err != nil {
		return err
	}
	up()
	return fmt.Errorf("%w any more: %w", ErrNoTor, conn.wait())
}

// keep serves until the context ends. The log hears of each change once.
func (s *Service) keep(ctx context.Context, log *slog.Logger, serve func(up func()) error) {
	wait, told := firstWait, false
	for {
		err := serve(func() {
			wait, told = firstWait, false
			s.changed(nil)
			log.Info("the onion service is there")
		})
		if ctx.Err() != nil {
			return
		}
		s.changed(err)
		if !told {
			log.Warn("no onion service for now", "error", err)
		}
		told = true
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, lastWait)
	}
}
