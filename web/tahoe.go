package web

import (
	"time"

	"github.com/tarn-grid/tarn"
)

// tahoeWelcome is what Tahoe's GET /?t=json answers (allmydata/web/root.py),
// field by field.
type tahoeWelcome struct {
	Introducers tahoeIntroducers `json:"introducers"`
	Servers     []tahoeServer    `json:"servers"`
}

type tahoeIntroducers struct {
	Statuses []string `json:"statuses"`
}

// tahoeServer has null for what is not known: the version before the first
// connection, the time (seconds of Unix time) before the first answer.
type tahoeServer struct {
	NodeID           string   `json:"nodeid"`
	ConnectionStatus string   `json:"connection_status"`
	AvailableSpace   *int64   `json:"available_space"`
	Nickname         string   `json:"nickname"`
	Version          *string  `json:"version"`
	LastReceivedData *float64 `json:"last_received_data"`
}

// protocolVersion stands where Tahoe names the server's software: what a
// connected server is known to speak.
const protocolVersion = "tarn/1"

func welcomeJSON(s tarn.Status) tahoeWelcome {
	out := tahoeWelcome{Introducers: tahoeIntroducers{[]string{}}, Servers: []tahoeServer{}}
	for _, i := range s.Introducers {
		out.Introducers.Statuses = append(out.Introducers.Statuses, introducerSummary(i))
	}
	for _, server := range s.Servers {
		out.Servers = append(out.Servers, tahoeServerOf(server))
	}
	return out
}

func tahoeServerOf(s tarn.ServerStatus) tahoeServer {
	out := tahoeServer{NodeID: s.Server.String(), ConnectionStatus: serverSummary(s), Nickname: s.Nickname}
	if usable(s) {
		version, room := protocolVersion, s.Room
		out.Version, out.AvailableSpace = &version, &room
		out.LastReceivedData = unixSeconds(s.Since)
	}
	return out
}

func unixSeconds(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	seconds := float64(t.UnixMilli()) / 1000
	return &seconds
}

// usable reports whether the server answers now and the login, if there is to
// be one, has come to an end.
func usable(s tarn.ServerStatus) bool {
	return s.LoggedIn || s.State == "connected" && s.LastError != ""
}

// serverSummary begins with "Connected" exactly when the server is usable:
// programs wait for that word.
func serverSummary(s tarn.ServerStatus) string {
	switch {
	case s.LoggedIn:
		return "Connected to " + s.Address
	case usable(s):
		return "Connected to " + s.Address + ", without an account: " + s.LastError
	case s.State == "connected":
		return "Logging in at " + s.Address
	case s.LastError != "":
		return "Not connected: " + s.LastError
	case s.State == "dialing":
		return "Trying to connect"
	}
	return "Not connected"
}

func introducerSummary(i tarn.IntroducerStatus) string {
	switch {
	case i.Connected && len(i.Ref.Hints) > 0:
		return "Connected to " + string(i.Ref.Hints[0])
	case i.Connected:
		return "Connected"
	case i.LastError != "":
		return "Not connected: " + i.LastError
	}
	return "Trying to connect"
}
