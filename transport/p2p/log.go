package p2p

import (
	"context"
	"log/slog"
	"os"

	"github.com/libp2p/go-libp2p/gologshim"
)

// LogTo sends libp2p's own warnings and errors to h, as debug lines: what
// somebody acts on arrives through callbacks, and libp2p calls a closed
// listener an error. It is called before the first Listen or Dial of the
// process; otherwise libp2p writes to standard error.
func LogTo(h slog.Handler) {
	gologshim.SetDefaultHandler(quietHandler{h})
	_ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true") // its one way to be quiet
}

// quietHandler passes on warnings and errors, as debug lines.
type quietHandler struct{ to slog.Handler }

func (q quietHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && q.to.Enabled(ctx, slog.LevelDebug)
}

func (q quietHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return q.to.Handle(ctx, r)
}

func (q quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{q.to.WithAttrs(attrs)}
}

func (q quietHandler) WithGroup(name string) slog.Handler { return quietHandler{q.to.WithGroup(name)} }
