package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Paths for a renewer's operator, and for those whose leases it renews.
const (
	pathRenewalCap    = "/v1/leases/renewal-cap"
	pathAddRenewal    = "/v1/renewer/add"
	pathRenewals      = "/v1/renewer/list"
	pathLapsed        = "/v1/renewer/lapsed"
	pathRemoveRenewal = "/v1/renewer/remove"
)

// maxRenewal bounds a request with a renewal cap in it, in bytes.
const maxRenewal = lease.MaxRenewalCapSize + lease.MaxRenewalCapSize/32

// Renewed is tarn.Renewed as JSON.
type Renewed struct {
	Name     string         `json:"name"`
	Added    time.Time      `json:"added"`
	Until    time.Time      `json:"until,omitzero"`
	Files    int64          `json:"files"`
	Leases   int64          `json:"leases"`
	Lapsed   int64          `json:"lapsed"`
	Next     time.Time      `json:"next,omitzero"`
	Servers  []ServerLeases `json:"servers"`
	Managers []RenewedCards `json:"managers"`
}

// RenewedCards is tarn.RenewedCards as JSON.
type RenewedCards struct {
	Manager   string    `json:"manager"`
	Until     time.Time `json:"until,omitzero"`
	LastError string    `json:"last_error,omitempty"`
}

// RenewalCap is the text of a cap, for how many leases it is, and how many are
// left out because the node itself can't renew them.
type RenewalCap struct {
	Cap    string `json:"cap"`
	Leases int    `json:"leases"`
	Left   int    `json:"left"`
}

type renewalCapRequest struct {
	Key   string    `json:"key"`
	Until time.Time `json:"until"`
}

type addRenewal struct {
	Name string `json:"name"`
	Cap  string `json:"cap"`
}

type renewalName struct {
	Name string `json:"name"`
}

func renewedOf(r tarn.Renewed) Renewed {
	return Renewed{
		Name: r.Name, Added: r.Added, Until: r.Until, Files: r.Files, Leases: r.Leases, Lapsed: r.Lapsed, Next: r.Next,
		Servers: listOf(r.Servers, serverLeasesOf),
		Managers: listOf(r.Managers, func(m tarn.RenewedCards) RenewedCards {
			return RenewedCards{m.Manager.String(), m.Until, m.LastError}
		}),
	}
}

func (s *server) handleRenewer(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathRenewalCap, answers(maxObject, s.renewalCap))
	mux.HandleFunc("POST "+pathAddRenewal, handledBy(s.node.Renewer, maxRenewal, func(ctx context.Context, r tarn.Renewer, ask addRenewal) (Renewed, error) {
		added, err := r.Add(ctx, ask.Name, strings.NewReader(ask.Cap))
		return renewedOf(added), err
	}))
	mux.HandleFunc("POST "+pathRenewals, handledBy(s.node.Renewer, maxObject, func(ctx context.Context, r tarn.Renewer, _ nothing) ([]Renewed, error) {
		list, err := r.List(ctx)
		return listOf(list, renewedOf), err
	}))
	mux.HandleFunc("POST "+pathLapsed, s.lapsed)
	mux.HandleFunc("POST "+pathRemoveRenewal, handledBy(s.node.Renewer, maxObject, func(ctx context.Context, r tarn.Renewer, ask renewalName) (nothing, error) {
		return nothing{}, r.Remove(ctx, ask.Name)
	}))
}

func (s *server) lapsed(w http.ResponseWriter, r *http.Request) {
	var ask renewalName
	if err := readObject(r.Body, &ask); err != nil {
		reply(w, nil, err)
		return
	}
	renewer, err := s.node.Renewer()
	if err != nil {
		reply(w, nil, err)
		return
	}
	lines := json.NewEncoder(w)
	err = renewer.Lapsed(r.Context(), ask.Name, func(f tarn.LeasedFile) error {
		return lines.Encode(leaseEvent{File: leasedFileOf(f)})
	})
	endLines(lines, &leaseEnd{}, err)
}

func (s *server) renewalCap(ctx context.Context, ask renewalCapRequest) (RenewalCap, error) {
	key, err := readKey(ask.Key)
	if err != nil {
		return RenewalCap{}, err
	}
	c, left, err := s.node.RenewalCap(ctx, key, ask.Until)
	if err != nil {
		return RenewalCap{}, err
	}
	text, err := c.Text()
	return RenewalCap{string(text), c.Leases(), left}, err
}

// RenewalCap is by what a renewer with that key may renew all leases of the
// node's client until then.
func (c *Client) RenewalCap(ctx context.Context, key grid.PublicKey, until time.Time) (RenewalCap, error) {
	var r RenewalCap
	return r, c.post(ctx, pathRenewalCap, renewalCapRequest{key.String(), until}, &r)
}

// AddRenewal has the node's renewer renew by a cap, whose text this is.
func (c *Client) AddRenewal(ctx context.Context, name, text string) (Renewed, error) {
	var r Renewed
	return r, c.post(ctx, pathAddRenewal, addRenewal{name, text}, &r)
}

// Renewals lists what the node's renewer renews for whom.
func (c *Client) Renewals(ctx context.Context) ([]Renewed, error) {
	var list []Renewed
	return list, c.post(ctx, pathRenewals, nothing{}, &list)
}

// Lapsed yields the files under a name of which leases have lapsed.
func (c *Client) Lapsed(ctx context.Context, name string, yield func(LeasedFile) error) error {
	body, err := json.Marshal(renewalName{name})
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	_, err = lines(ctx, c, http.MethodPost, pathLapsed, bytes.NewReader(body), func(e leaseEvent) *LeasedFile { return e.File }, yield)
	return err
}

// RemoveRenewal has the node's renewer renew under a name no more.
func (c *Client) RemoveRenewal(ctx context.Context, name string) error {
	return c.post(ctx, pathRemoveRenewal, renewalName{name}, &nothing{})
}
