package placement

import "github.com/tarn-grid/tarn/grid"

// Edge says that a server holds a share.
type Edge struct {
	Server grid.ServerID
	Share  grid.ShareNum
}

// Happiness is the size of a maximum matching between servers and shares:
// with any k of that many servers, a file that needs k shares can be read. The
// order of edges does not matter, nor does an edge that is there twice.
func Happiness(edges []Edge) int {
	index := map[grid.ServerID]int{}
	var held [][]grid.ShareNum
	for _, e := range edges {
		i, known := index[e.Server]
		if !known {
			i = len(held)
			index[e.Server] = i
			held = append(held, nil)
		}
		held[i] = append(held[i], e.Share)
	}
	m, size := newMatching(held), 0
	for i := range held {
		if m.add(i) {
			size++
		}
	}
	return size
}

// nobody is the owner of a share that is not matched.
const nobody = -1

// matching pairs servers with shares they hold, no server and no share twice.
// Servers are added one at a time, by augmenting paths: earlier ones stay
// matched, though with another share perhaps, so the order of adding is the
// order of preference, and after the last one the matching is a maximum.
type matching struct {
	held  [][]grid.ShareNum
	owner [grid.MaxShares]int
	// dead marks the shares from which a search led nowhere. No later one
	// gets further, so all failed searches together cost no more than one
	// that visits everything.
	dead [grid.MaxShares]bool
}

func newMatching(held [][]grid.ShareNum) *matching {
	m := &matching{held: held}
	for n := range m.owner {
		m.owner[n] = nobody
	}
	return m
}

// add matches a server as well, if it can be.
func (m *matching) add(server int) bool {
	seen := m.dead
	if m.augment(server, &seen) {
		return true
	}
	m.dead = seen
	return false
}

// augment finds a share for a server, its owners making room for each other;
// as deep as there are shares at most.
func (m *matching) augment(server int, seen *[grid.MaxShares]bool) bool {
	for _, n := range m.held[server] {
		if m.owner[n] == nobody {
			m.owner[n] = server
			return true
		}
	}
	for _, n := range m.held[server] {
		if seen[n] {
			continue
		}
		seen[n] = true
		if m.augment(m.owner[n], seen) {
			m.owner[n] = server
			return true
		}
	}
	return false
}
