package p2p

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestLibp2pIsQuiet(t *testing.T) {
	var out bytes.Buffer
	at := func(l slog.Level) *slog.Logger {
		return slog.New(quietHandler{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: l})})
	}
	at(slog.LevelInfo).Error("shouting")
	at(slog.LevelDebug).Info("chatting")
	if out.Len() > 0 {
		t.Errorf("logged %s", out.String())
	}
	at(slog.LevelDebug).With("logger", "swarm2").Error("shouting")
	if got := out.String(); !strings.Contains(got, "level=DEBUG") || !strings.Contains(got, "logger=swarm2") {
		t.Errorf("logged %s", got)
	}
}
