// Package privacy measures whether two servers that compare notes can tell
// which of their connections belong to one client.
//
// A Population is what both wrote down: for each client one Sighting by each
// server. Findings names the fields by which a client's two sightings are more
// alike, or more different, than those of two clients; Guess says how well
// somebody does who uses all fields together. Both know nothing of Tarn: what
// is a field is decided by who fills the sightings, and a field too many harms
// nobody.
package privacy

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Sighting is all that one server saw of one client: values that can only be
// equal or not, and numbers, which can also be close. A field that was not
// seen is left out, which is a value of its own.
type Sighting struct {
	Values  map[string]string
	Numbers map[string]float64
}

// NewSighting is an empty one.
func NewSighting() Sighting {
	return Sighting{Values: map[string]string{}, Numbers: map[string]float64{}}
}

// Client is one client as both servers saw it.
type Client struct{ A, B Sighting }

// Population is all clients, in no order that means something.
type Population []Client

// Finding is a field that links a client's two sightings.
type Finding struct {
	Field string
	// Within and Across are how often two sightings have the same value: those of
	// one client, and those of two. Unused for numbers.
	Within, Across float64
	// Correlation is between the ranks of both sightings' numbers.
	Correlation float64
	// Odds is how likely chance does this, or something as odd.
	Odds float64
}

// String is one line for people.
func (f Finding) String() string {
	if f.Correlation != 0 {
		return fmt.Sprintf("%s: correlates by %.2f between the connections of one client (by chance: %.0e)", f.Field, f.Correlation, f.Odds)
	}
	return fmt.Sprintf("%s: the same in %.1f %% of the pairs of one client, in %.1f %% of others (by chance: %.0e)",
		f.Field, 100*f.Within, 100*f.Across, f.Odds)
}

// chance is how unlikely a coincidence has to be before it counts, for all
// fields together.
const chance = 1e-4

// Findings are the fields that link, the clearest first. A field that is the
// same for everybody, or different for every sighting, links nobody.
func (p Population) Findings() []Finding {
	if len(p) < 2 {
		return nil
	}
	values, numbers := p.fields()
	var found []Finding
	for _, name := range values {
		found = append(found, p.compareValues(name))
	}
	for _, name := range numbers {
		found = append(found, p.correlate(name))
	}
	limit := chance / float64(max(len(found), 1))
	found = slices.DeleteFunc(found, func(f Finding) bool { return f.Odds > limit })
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(a.Odds, b.Odds) })
	return found
}

// fields are the names of all values and of all numbers, sorted. A number is
// compared as a value too: it may be odd without being close to anything.
func (p Population) fields() (values, numbers []string) {
	v, n := map[string]bool{}, map[string]bool{}
	for _, c := range p {
		for _, s := range []Sighting{c.A, c.B} {
			for name := range s.Values {
				v[name] = true
			}
			for name := range s.Numbers {
				n[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(v)), slices.Sorted(maps.Keys(n))
}

// compareValues holds the clients' own pairs against all pairs of two clients.
func (p Population) compareValues(name string) Finding {
	inA, inB := map[string]int{}, map[string]int{}
	same := 0
	for _, c := range p {
		a, b := c.A.value(name), c.B.value(name)
		inA[a]++
		inB[b]++
		if a == b {
			same++
		}
	}
	across := -same
	for v, n := range inA {
		across += n * inB[v]
	}
	f := Finding{Field: name, Within: ratio(same, len(p)), Across: ratio(across, len(p)*(len(p)-1))}
	f.Odds = binomialOdds(same, len(p), f.Across)
	return f
}

// value is the field as text; what is missing differs from all that is there.
func (s Sighting) value(name string) string {
	if v, ok := s.Values[name]; ok {
		return "=" + v
	}
	return "-"
}

// correlate compares ranks, so that no unit and no outlier matters. Clients
// that lack the number in a sighting are left out.
func (p Population) correlate(name string) Finding {
	var a, b []float64
	for _, c := range p {
		x, inA := c.A.Numbers[name]
		y, inB := c.B.Numbers[name]
		if inA && inB {
			a, b = append(a, x), append(b, y)
		}
	}
	r := correlation(ranks(a), ranks(b))
	z := math.Abs(r) * math.Sqrt(float64(max(len(a)-1, 0)))
	return Finding{Field: name, Correlation: r, Odds: math.Erfc(z / math.Sqrt2)}
}

func ratio(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// ranks are 0 to n-1, equal values sharing the middle of theirs.
func ranks(x []float64) []float64 {
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(x[i], x[j]) })
	r := make([]float64, len(x))
	for from := 0; from < len(order); {
		to := from + 1
		for to < len(order) && x[order[to]] == x[order[from]] {
			to++
		}
		for _, i := range order[from:to] {
			r[i] = float64(from+to-1) / 2
		}
		from = to
	}
	return r
}

// correlation is Pearson's, 0 where one side does not vary.
func correlation(a, b []float64) float64 {
	ma, mb := mean(a), mean(b)
	var ab, aa, bb float64
	for i := range a {
		ab += (a[i] - ma) * (b[i] - mb)
		aa += (a[i] - ma) * (a[i] - ma)
		bb += (b[i] - mb) * (b[i] - mb)
	}
	if aa == 0 || bb == 0 {
		return 0
	}
	return ab / math.Sqrt(aa*bb)
}

func mean(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(max(len(x), 1))
}

// binomialOdds is the chance that of n coins, each heads with probability p,
// so many or more fall heads where that is more than expected, so few or fewer
// where it is less; doubled, since either would have been remarked.
func binomialOdds(heads, n int, p float64) float64 {
	switch {
	case p <= 0 && heads == 0, p >= 1 && heads == n:
		return 1
	case p <= 0, p >= 1: // that any pair of two clients agrees may still be less rare than the sample shows
		p = min(max(p, 1/float64(n*n)), 1-1/float64(n*n))
	}
	from, to := heads, n
	if float64(heads) < p*float64(n) {
		from, to = 0, heads
	}
	sum := 0.0
	for k := from; k <= to; k++ {
		sum += math.Exp(logChoose(n, k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	}
	return min(1, 2*sum)
}

func logChoose(n, k int) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}
