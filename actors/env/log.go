package env

import (
	"context"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/eventstream"
)

// protoLogger is protoactor's logger. What it finds worth a line at Info is
// of interest to developers only.
func protoLogger(log *slog.Logger) *slog.Logger {
	return slog.New(protoHandler{log.Handler()}).With("library", "protoactor")
}

type protoHandler struct{ slog.Handler }

func demote(l slog.Level) slog.Level {
	if l == slog.LevelInfo {
		return slog.LevelDebug
	}
	return l
}

// Enabled implements slog.Handler.
func (h protoHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return h.Handler.Enabled(ctx, demote(l))
}

// Handle implements slog.Handler.
func (h protoHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = demote(r.Level)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h protoHandler) WithAttrs(as []slog.Attr) slog.Handler {
	return protoHandler{h.Handler.WithAttrs(as)}
}

// WithGroup implements slog.Handler.
func (h protoHandler) WithGroup(name string) slog.Handler {
	return protoHandler{h.Handler.WithGroup(name)}
}

// takeDeadLetters replaces protoactor's handling of messages to nobody. That
// logs what is in them, capabilities and keys included, and starts goroutines
// on the wall clock. Like it, this answers whoever waits for a reply or
// watches.
func (s *System) takeDeadLetters() {
	s.actors.EventStream = eventstream.NewEventStream()
	s.actors.EventStream.Subscribe(func(event any) {
		d, ok := event.(*actor.DeadLetterEvent)
		if !ok {
			return
		}
		s.m.Log.Debug("message to nobody", "actor", d.PID.GetId(), "message", typeName(d.Message))
		if w, ok := d.Message.(*actor.Watch); ok {
			s.system(w.Watcher, &actor.Terminated{Who: d.PID, Why: actor.TerminatedReason_NotFound})
		}
		if d.Sender != nil {
			s.Send(d.Sender, &actor.DeadLetterResponse{})
		}
	})
}

// system sends a system message to pid, if it lives.
func (s *System) system(pid *actor.PID, m any) {
	if p, lives := s.actors.ProcessRegistry.Get(pid); lives {
		p.SendSystemMessage(pid, m)
	}
}
