package tally

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Part is what one to whom a member delegated holds over all servers.
type Part struct {
	Name            string         // empty for a key that has none
	Key             grid.PublicKey // where it has none; one holder has another at every server
	Bytes, Reserved int64
	Shares          int64
	Keys            int
	Below           []Part // by name, then key
}

// partName is under what a part is found.
type partName struct {
	name string
	key  grid.PublicKey
}

// parts is a tree of them in the making.
type parts map[partName]*growing

type growing struct {
	Part
	below parts
}

// addParts puts rows that are held by somebody's grant down to whoever stands
// below whom in that report. What stands below a key is shown where the key
// stands first, and once.
func (r Report) addParts(of map[string]parts, names Names) {
	under := map[grid.PublicKey][]Row{}
	for _, row := range r.Rows {
		if !row.Under.IsZero() {
			under[row.Under] = append(under[row.Under], row)
		}
	}
	if len(under) == 0 {
		return
	}
	for _, row := range r.Rows {
		if row.Under.IsZero() && len(under[row.Key]) > 0 {
			owner, _ := names.at(r.Server, r.Of, row.Key)
			of[owner.Name] = r.merge(of[owner.Name], names, under, row.Key)
		}
	}
}

// merge adds the rows under a key to the parts that there are. Each key's rows
// are taken once, so that keys under each other come to an end.
func (r Report) merge(into parts, names Names, under map[grid.PublicKey][]Row, key grid.PublicKey) parts {
	if into == nil {
		into = parts{}
	}
	rows := under[key]
	delete(under, key)
	for _, row := range rows {
		at := partName{key: row.Key}
		if owner, known := names.at(r.Server, r.Of, row.Key); known {
			at = partName{name: owner.Name}
		}
		p := into[at]
		if p == nil {
			p = &growing{Part: Part{Name: at.name, Key: at.key}}
			into[at] = p
		}
		p.Keys++
		p.Bytes, p.Shares, p.Reserved = plus(p.Bytes, row.Bytes), plus(p.Shares, row.Shares), plus(p.Reserved, row.Reserved)
		p.below = r.merge(p.below, names, under, row.Key)
	}
	return into
}

// sorted is the tree as it is shown.
func (p parts) sorted() []Part {
	var list []Part
	for _, part := range p {
		part.Part.Below = part.below.sorted()
		list = append(list, part.Part)
	}
	slices.SortFunc(list, func(a, b Part) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), bytes.Compare(a.Key[:], b.Key[:]))
	})
	return list
}

// at is whose key it is at a server that was asked by of.
func (n Names) at(server grid.ServerID, of, key grid.PublicKey) (Owner, bool) {
	switch {
	case key.IsZero():
		return Owner{Name: AnonymousName}, true
	case key == of:
		return Owner{Name: OwnName}, true
	}
	owner, known := n[lease.ServerKey{Server: server, Key: key}]
	return owner, known
}
