package archtest

import "slices"

// room is a folder, with all below it that is not a room of its own.
type room struct {
	dir    string   // "." is the root package
	may    []string // the other rooms that it may import
	reason string
}

// anyRoom may be imported by the rooms that test them all.
const anyRoom = "*"

// rooms is "Rooms, and which way imports run" of the architecture. The longest
// dir that fits is a package's room.
var rooms = []room{
	{dir: "grid", reason: "grid holds the nouns that all rooms share: what it imports, everybody imports"},
	{dir: "lease", may: []string{"grid"},
		reason: "lease is the pure rules of accounting over the nouns; an actor joins them with files, disk and network"},
	{dir: "lease/store", may: []string{"grid", "lease", "transport/wire"},
		reason: "the store knows the nouns and the ledger's rules, not who uses it"},
	{dir: "file", may: []string{"grid"},
		reason: "file is pure and knows no accounting; lease and file never import each other, an actor joins them"},
	{dir: "transport/wire", may: []string{"grid", "lease"},
		reason: "wire objects are made of nouns and certificates and go no further than the border"},
	{dir: "transport", may: []string{"grid", "lease", "transport/wire"},
		reason: "transport carries wire objects; who sends them, and why, is for the actors"},
	{dir: "transport/p2p", may: []string{"grid", "lease", "transport", "transport/wire"},
		reason: "p2p implements transport and knows nothing above it"},
	{dir: "actors/env", reason: "env is what actors stand on, so it can't know them"},
	{dir: "actors", may: []string{"actors/env", "file", "grid", "lease", "transport", "transport/wire"},
		reason: "actors join the pure rooms; they get store and network handed in, and nothing calls up"},
	{dir: ".", may: []string{"actors", "actors/env", "file", "grid", "lease", "lease/store", "transport", "transport/p2p", "transport/wire"},
		reason: "the root package is below cmd and web"},
	{dir: "web", may: []string{".", "file", "grid", "lease"},
		reason: "web and cmd reach the node through the root package, and else know only pure nouns"},
	{dir: "cmd", may: []string{".", "web", "file", "grid", "lease"},
		reason: "web and cmd reach the node through the root package, and else know only pure nouns"},
	{dir: "integration", may: []string{anyRoom}},
	{dir: "internal", reason: "internal looks at the source, and is not part of the program"},
}

// closedRooms are those that few may import.
var closedRooms = []struct {
	dir    string
	by     []string
	reason string
}{
	{"lease/store", []string{".", "integration"}, "the root wires the store in; others declare the interface they need"},
	{"transport/p2p", []string{".", "integration"}, "the root wires libp2p in; others know transport's interfaces"},
	{"internal", []string{"internal"}, "internal looks at the source, and is not part of the program"},
	{"integration", []string{"integration"}, "integration is tests"},
	{"cmd", []string{"cmd"}, "nothing runs back up to cmd"},
}

// roomOf is the room of a package, nil if the architecture has none for it.
func roomOf(dir string) *room {
	var best *room
	for i, r := range rooms {
		if within(dir, r.dir) && (best == nil || len(r.dir) > len(best.dir)) {
			best = &rooms[i]
		}
	}
	return best
}

// checkRoom checks imports of this module by this module. Tests may join
// rooms as they like.
func (m *module) checkRoom(f *file) []Violation {
	own := roomOf(f.dir)
	if own == nil {
		return []Violation{f.violation(f.ast.Package, "a new room is first drawn in the architecture", "folder %s is no room", f.dir)}
	}
	if f.test {
		return nil
	}
	var all []Violation
	for _, im := range f.imports() {
		to, ok := m.inside(im.path)
		if !ok {
			continue
		}
		if !own.mayImport(to) {
			all = append(all, f.violation(im.pos, own.reason, "imports %s", to))
		}
		for _, c := range closedRooms {
			if within(to, c.dir) && !within(f.dir, c.dir) && !withinAny(f.dir, c.by) {
				all = append(all, f.violation(im.pos, c.reason, "imports %s", to))
			}
		}
	}
	return all
}

func (r *room) mayImport(to string) bool {
	other := roomOf(to)
	return other == r || slices.Contains(r.may, anyRoom) || other != nil && slices.Contains(r.may, other.dir)
}
