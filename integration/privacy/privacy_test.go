package privacy

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// population makes clients with fields that link nobody: one that is the same
// for all, one that is new each time, one of few values, a free number.
func population(n int, rng *rand.Rand, leak func(c *Client)) Population {
	var p Population
	for range n {
		c := Client{A: NewSighting(), B: NewSighting()}
		for _, s := range []Sighting{c.A, c.B} {
			s.Values["version"] = "1"
			s.Values["key"] = fmt.Sprint(rng.Uint64())
			s.Values["port parity"] = fmt.Sprint(rng.IntN(2))
			s.Numbers["moment"] = rng.Float64()
			s.Numbers["size"] = 100
			if rng.IntN(2) == 0 {
				s.Values["sometimes"] = "there"
			}
		}
		if leak != nil {
			leak(&c)
		}
		p = append(p, c)
	}
	return p
}

func TestNothingToFind(t *testing.T) {
	for seed := range uint64(20) {
		p := population(1000, rand.New(rand.NewPCG(seed, 1)), nil)
		if found := p.Findings(); len(found) > 0 {
			t.Errorf("seed %d: %v", seed, found)
		}
		if auc := p.Guess(seed); auc > 0.55 || auc < 0.45 {
			t.Errorf("seed %d: a guesser without a clue reaches %.3f", seed, auc)
		}
	}
}

func TestLeaksAreNamed(t *testing.T) {
	var rng *rand.Rand
	both := func(c *Client, set func(s Sighting)) { set(c.A); set(c.B) }
	leaks := map[string]func(c *Client){
		"reused key": func(c *Client) {
			v := fmt.Sprint(rng.Uint64())
			both(c, func(s Sighting) { s.Values["reused key"] = v })
		},
		"one client's bit": func(c *Client) {
			v := fmt.Sprint(rng.IntN(2))
			both(c, func(s Sighting) { s.Values["one client's bit"] = v })
		},
		"rare habit": func(c *Client) {
			rare := rng.IntN(50) == 0
			both(c, func(s Sighting) {
				if rare {
					s.Values["rare habit"] = "odd"
				}
			})
		},
		"never the same": func(c *Client) {
			v := rng.IntN(2)
			c.A.Values["never the same"], c.B.Values["never the same"] = fmt.Sprint(v), fmt.Sprint(1-v)
		},
		"dialled at": func(c *Client) {
			at := rng.Float64()
			both(c, func(s Sighting) { s.Numbers["dialled at"] = at + rng.Float64()/2 })
		},
	}
	for name, leak := range leaks {
		t.Run(name, func(t *testing.T) {
			rng = rand.New(rand.NewPCG(7, 7))
			p := population(1000, rng, leak)
			found := p.Findings()
			if len(found) != 1 || found[0].Field != name || !strings.HasPrefix(found[0].String(), name+": ") {
				t.Errorf("found %v", found)
			}
		})
	}
}

// A server that sees everything twice as clearly must not be blinded by many
// fields that say nothing.
func TestOneLeakAmongMany(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	p := population(1000, rng, func(c *Client) {
		for i := range 200 {
			c.A.Values[fmt.Sprint("noise", i)] = fmt.Sprint(rng.IntN(3))
			c.B.Values[fmt.Sprint("noise", i)] = fmt.Sprint(rng.IntN(3))
		}
		v := fmt.Sprint(rng.IntN(1000))
		c.A.Values["odd until"], c.B.Values["odd until"] = v, v
	})
	if found := p.Findings(); len(found) != 1 || found[0].Field != "odd until" {
		t.Errorf("found %v", found)
	}
	if auc := p.Guess(1); auc < 0.99 {
		t.Errorf("a guesser with a certain clue reaches %.3f", auc)
	}
}

func TestNobody(t *testing.T) {
	for _, p := range []Population{nil, population(1, rand.New(rand.NewPCG(1, 1)), nil)} {
		if found := p.Findings(); len(found) > 0 {
			t.Errorf("found %v among %d clients", found, len(p))
		}
		if auc := p.Guess(1); auc != 0.5 {
			t.Errorf("guessed %v among %d clients", auc, len(p))
		}
	}
}
