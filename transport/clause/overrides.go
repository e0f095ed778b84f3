package clause

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/tarn-grid/tarn/grid"
)

// Overrides is the file in which the user says of some servers how they are to
// be reached: the clauses in force, and what is wrong with the others.
type Overrides struct {
	Clauses map[grid.ServerID]Clause
	// Held are servers that are not connected to, because their clause has a
	// mistake and there was none before it.
	Held     map[grid.ServerID]Mistake
	Mistakes []Mistake // by line
}

// Then is what is in force once the file has this content, which is nil when
// there is no file. Whatever has a mistake stays as it was.
func (o Overrides) Then(content []byte) Overrides {
	switch {
	case content == nil:
		return Overrides{}
	case len(content) > MaxOverrides:
		return o.spoiled(Mistake{Reason: "the file is too large to be a list of servers"})
	case len(bytes.TrimSpace(content)) == 0:
		return o.spoiled(Mistake{Reason: "the file is empty; delete it if nothing is to be said of any server"})
	}
	good, mistakes := Parse(content)
	next := Overrides{Clauses: map[grid.ServerID]Clause{}, Held: map[grid.ServerID]Mistake{}, Mistakes: byLine(mistakes)}
	for _, c := range good {
		next.Clauses[c.Server] = c
	}
	next.keep(o)
	return next
}

// Unreadable is o when the file can't be read: what was in force stays.
func (o Overrides) Unreadable(err error) Overrides {
	return o.spoiled(Mistake{Reason: fmt.Sprintf("the file can't be read: %v", err)})
}

// Under adds to the mistakes what is not in force because of the node's settings.
func (o Overrides) Under(r Rules) Overrides {
	mistakes := slices.Clone(o.Mistakes)
	ids := slices.SortedFunc(maps.Keys(o.Clauses), func(a, b grid.ServerID) int { return slices.Compare(a[:], b[:]) })
	for _, id := range ids {
		_, more, _ := r.Merge(nil, new(o.Clauses[id]))
		mistakes = append(mistakes, more...)
	}
	o.Mistakes = byLine(mistakes)
	return o
}

func byLine(mistakes []Mistake) []Mistake {
	slices.SortStableFunc(mistakes, func(a, b Mistake) int { return a.Line - b.Line })
	return mistakes
}

// spoiled is o with a mistake that costs nothing but the new content.
func (o Overrides) spoiled(m Mistake) Overrides {
	o.Mistakes = []Mistake{m}
	return o
}

// keep takes over what was in force for servers whose clauses have mistakes. Of
// a clause that can't be told whose it is, it may be any that is gone.
func (o Overrides) keep(before Overrides) {
	for _, m := range o.Mistakes {
		if m.Server == (grid.ServerID{}) {
			o.keepAll(before)
			continue
		}
		delete(o.Clauses, m.Server)
		if c, ok := before.Clauses[m.Server]; ok {
			o.Clauses[m.Server] = c
		} else if _, told := o.Held[m.Server]; !told {
			o.Held[m.Server] = m
		}
	}
}

func (o Overrides) keepAll(before Overrides) {
	for id, c := range before.Clauses {
		if _, ok := o.Clauses[id]; !ok {
			o.Clauses[id] = c
		}
	}
	for id, m := range before.Held {
		if _, ok := o.Clauses[id]; !ok {
			o.Held[id] = m
		}
	}
}
