package privacy

import (
	"math"
	"math/rand/v2"
	"slices"
)

// others is with how many other clients' sightings each is compared when
// somebody guesses.
const others = 20

// bins is into how many distances in rank a number is put.
const bins = 16

// Guess lets somebody guess who knows of half of the clients which sightings
// belong together, learns from that how much each field tells, and is shown
// pairs of the other half. It returns the area under the curve: how often a
// pair of one client looks more like one than a pair of two; 0.5 is blind
// chance, 1 is certainty. seed decides who is in which half.
func (p Population) Guess(seed uint64) float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	order := rng.Perm(len(p))
	known, unknown := order[:len(p)/2], order[len(p)/2:]
	g := p.learn(rng, known)
	var own, foreign []float64
	for _, i := range unknown {
		own = append(own, g.score(i, i))
		for range others {
			if j := unknown[rng.IntN(len(unknown))]; j != i {
				foreign = append(foreign, g.score(i, j))
			}
		}
	}
	return areaUnderCurve(own, foreign)
}

// guesser knows for each field how much more often what it sees is seen in
// pairs of one client than in others, as a logarithm.
type guesser struct {
	population Population
	clues      []clue
}

// clue is one field, as a class of outcomes for a pair of sightings.
type clue struct {
	classes int
	class   func(a, b int) int
	weight  []float64
}

func (p Population) learn(rng *rand.Rand, known []int) guesser {
	g := guesser{population: p, clues: p.clues()}
	for k := range g.clues {
		c := &g.clues[k]
		own, foreign := make([]float64, c.classes), make([]float64, c.classes)
		for _, i := range known {
			own[c.class(i, i)]++
			for range others {
				if j := known[rng.IntN(len(known))]; j != i {
					foreign[c.class(i, j)]++
				}
			}
		}
		c.weight = weights(own, foreign)
	}
	return g
}

// weights compares two histograms; one more is added to each so that what was
// never seen is not taken as impossible.
func weights(own, foreign []float64) []float64 {
	w := make([]float64, len(own))
	a, b := 0.0, 0.0
	for i := range own {
		a += own[i] + 1
		b += foreign[i] + 1
	}
	for i := range w {
		w[i] = math.Log((own[i]+1)/a) - math.Log((foreign[i]+1)/b)
	}
	return w
}

// clues are all fields of the population.
func (p Population) clues() []clue {
	values, numbers := p.fields()
	var all []clue
	for _, name := range values {
		all = append(all, clue{classes: 2, class: func(a, b int) int {
			if p[a].A.value(name) == p[b].B.value(name) {
				return 1
			}
			return 0
		}})
	}
	for _, name := range numbers {
		inA, inB := p.quantiles(name, func(c Client) Sighting { return c.A }), p.quantiles(name, func(c Client) Sighting { return c.B })
		all = append(all, clue{classes: bins, class: func(a, b int) int {
			return min(int(math.Abs(inA[a]-inB[b])*bins), bins-1)
		}})
	}
	return all
}

// quantiles are the ranks of a number in one server's notes, from 0 to 1.
func (p Population) quantiles(name string, of func(Client) Sighting) []float64 {
	x := make([]float64, len(p))
	for i, c := range p {
		x[i] = of(c).Numbers[name]
	}
	r := ranks(x)
	for i := range r {
		r[i] /= float64(max(len(p)-1, 1))
	}
	return r
}

// score is how much more likely the sightings of a by the first and of b by
// the second server are one client's than two clients'.
func (g guesser) score(a, b int) float64 {
	sum := 0.0
	for _, c := range g.clues {
		sum += c.weight[c.class(a, b)]
	}
	return sum
}

// areaUnderCurve is how often a value of the first list is above one of the
// second; equal ones count half.
func areaUnderCurve(own, foreign []float64) float64 {
	if len(own) == 0 || len(foreign) == 0 {
		return 0.5
	}
	r := ranks(slices.Concat(own, foreign))
	sum := 0.0
	for _, rank := range r[:len(own)] {
		sum += rank + 1
	}
	n, m := float64(len(own)), float64(len(foreign))
	return (sum - n*(n+1)/2) / (n * m)
}
