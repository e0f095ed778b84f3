package privacy

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// TestUnlinkable: two servers that lay their notes side by side, of every byte and
// field that reached them, can't tell which of their connections come from one
// client, but by what docs/privacy.md says they share.
func TestUnlinkable(t *testing.T) { unlinkable(t, 60, false) }

// TestUnlinkableUnderNoise: nor where they know no TLS.
func TestUnlinkableUnderNoise(t *testing.T) { unlinkable(t, 30, true) }

func unlinkable(t *testing.T, clients int, noise bool) {
	d := readDeclared(t)
	g := newObserved(t, noise)
	g.joinAll(clients, g.ordinary)
	g.reconnect()
	g.restart()
	p := g.population()
	values, _ := p.fields()
	for _, field := range []string{map[bool]string{false: "connect.hello.order", true: "connect.noise[0]"}[noise], "restart.from.Resume[0].reference"} {
		if !slices.Contains(values, field) {
			t.Errorf("the observers did not see %s", field)
		}
	}
	for _, row := range d.unused(p) {
		t.Errorf("docs/privacy.md declares %s, which is no field any more", row)
	}
	rest := d.without(p)
	for _, f := range rest.Findings() {
		t.Errorf("docs/privacy.md does not declare %s", f)
	}
	if auc := rest.Guess(1); auc > 0.5+bound(clients) {
		t.Errorf("who guesses which connections belong together reaches %.3f", auc)
	} else {
		t.Logf("who guesses reaches %.3f", auc)
	}
}

// bound is what chance alone may reach above blind guessing: four times what it
// deviates on average, which is 0.05 with a thousand clients.
func bound(clients int) float64 { return 0.05 * math.Sqrt(1000/float64(clients)) }

// TestPlantedLeaks: each mistake of a client is found, under its name.
func TestPlantedLeaks(t *testing.T) {
	d := readDeclared(t)
	for name, leak := range leaks {
		t.Run(name, func(t *testing.T) { newObserved(t, leak.noise).mustFind(d, leak) })
	}
	t.Run("no leak", func(t *testing.T) {
		g := newObserved(t, false)
		g.joinAll(planted, func(int) habits { return habits{dialer: &leaky{}} })
		for _, f := range d.without(g.population()).Findings() {
			t.Errorf("found %s where nothing was planted", f)
		}
	})
	t.Run("odd until of a card", func(t *testing.T) {
		g := newObserved(t, false)
		g.mustFind(d, leak{field: "connect.from.Login[0].chain[0].until.second", plant: func(i int) habits {
			return habits{dialer: realDialer(), card: func(server grid.ServerID, key grid.PublicKey) lease.Chain {
				return g.card(server, key, lease.CardUntil(time.Now())+int64(61*i), nil)
			}}
		}})
	})
}

// planted is how many clients have a mistake.
const planted = 30

func (g *observed) mustFind(d declared, l leak) {
	g.Helper()
	g.joinAll(planted, l.plant)
	if l.later {
		g.restart()
	}
	found := d.without(g.population()).Findings()
	if !slices.ContainsFunc(found, func(f Finding) bool { return f.Field == l.field }) {
		g.Errorf("%s links every client and was not found, only %v", l.field, found)
	}
}

// ordinary clients have an account of their own at each server, or are members
// of one of two plans.
func (g *observed) ordinary(i int) habits {
	h := habits{dialer: realDialer()}
	if space := []int64{0, 0, 5e9, 10e9}[i%4]; space > 0 {
		h.card = func(server grid.ServerID, key grid.PublicKey) lease.Chain {
			return g.card(server, key, 0, &space)
		}
	}
	return h
}

// card is a card as an account manager makes it, or one that ends when no manager
// lets it end.
func (g *observed) card(server grid.ServerID, key grid.PublicKey, odd int64, space *int64) lease.Chain {
	if odd == 0 {
		card, err := lease.SignCard(g.manager, server, key, lease.CardTerms{Space: space}, time.Now())
		if err != nil {
			g.Error(err)
		}
		return card.Chain
	}
	root := grid.PublicKeyOf(g.manager)
	certificate := lease.Certificate{Delegate: key}
	certificate.Root, certificate.Server, certificate.Until = &root, &server, &odd
	chain, err := lease.Chain{}.Sign(g.manager, certificate)
	if err != nil {
		g.Error(err)
	}
	return chain
}
