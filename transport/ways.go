package transport

import "slices"

// Kinds are all there are, in the order in which people read them.
func Kinds() []Kind { return slices.Clone(kinds) }

// Ways are those that make sense for the kind.
func (k Kind) Ways() []Way { return slices.Clone(ways[k]) }

// With is c with hints of one kind dialled in another way.
func (c Connections) With(k Kind, w Way) Connections {
	*map[Kind]*Way{TCP: &c.TCP, QUIC: &c.QUIC, Onion: &c.Onion, Relay: &c.Relay}[k] = w
	return c
}
