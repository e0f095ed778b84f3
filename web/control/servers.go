package control

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
)

// Servers is tarn.Servers as JSON; `tarn servers --json` prints it.
type Servers struct {
	Servers  []KnownServer     `json:"servers"`
	File     string            `json:"file"`
	Mistakes []OverrideMistake `json:"mistakes"`
}

// KnownServer is one server, and how the node connects to it: by kind of address.
type KnownServer struct {
	ServerStatus
	Addresses   []string          `json:"addresses"`
	Connections map[string]string `json:"connections"`
	Punch       bool              `json:"punch"`
	Introducers []AnnouncedBy     `json:"introducers"`
	Own         []string          `json:"own"`
	Ignored     bool              `json:"ignored"`
}

// AnnouncedBy is an introducer that announces a server.
type AnnouncedBy struct {
	Number     int       `json:"number"`
	Introducer string    `json:"introducer"`
	Heard      time.Time `json:"heard"`
}

// OverrideMistake is what is wrong with private/servers.yaml.
type OverrideMistake struct {
	Line   int    `json:"line"`
	Server string `json:"server,omitempty"`
	Reason string `json:"reason"`
}

// Name is what people call the server: its petname, or else its nickname.
func (s ServerStatus) Name() string { return cmp.Or(s.Petname, s.Nickname) }

// ServersOf is what a node, or tarn.ReadServers, says.
func ServersOf(s tarn.Servers) Servers {
	return Servers{Servers: listOf(s.Servers, knownServerOf), File: s.File, Mistakes: mistakesOf(s.Mistakes)}
}

func knownServerOf(s tarn.KnownServer) KnownServer {
	out := KnownServer{
		ServerStatus: serverStatusOf(s.ServerStatus), Addresses: hintTexts(s.Addresses), Connections: map[string]string{},
		Punch: s.Connections.Punch, Introducers: listOf(s.Introducers, announcedByOf), Own: append([]string{}, s.Own...), Ignored: s.Ignored,
	}
	for _, kind := range tarn.AddressKinds() {
		out.Connections[string(kind)] = string(s.Connections.Of(kind))
	}
	return out
}

func announcedByOf(a tarn.AnnouncedBy) AnnouncedBy {
	return AnnouncedBy{a.Number, a.Introducer.String(), a.Heard}
}

func mistakesOf(mistakes []tarn.OverrideMistake) []OverrideMistake {
	return listOf(mistakes, func(m tarn.OverrideMistake) OverrideMistake {
		return OverrideMistake{m.Line, idText(m.Server), m.Reason}
	})
}

// idText is empty for an id that is not known.
func idText(id grid.ServerID) string {
	if id == (grid.ServerID{}) {
		return ""
	}
	return id.String()
}

func (s *server) servers(w http.ResponseWriter, r *http.Request) {
	servers, err := s.node.Servers(r.Context())
	reply(w, ServersOf(servers), err)
}

// Servers is what the node's client knows of servers, and from whom.
func (c *Client) Servers(ctx context.Context) (Servers, error) {
	var s Servers
	return s, c.call(ctx, http.MethodGet, pathKnown, nil, &s)
}
