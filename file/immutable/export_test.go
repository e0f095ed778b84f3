package immutable

import "github.com/tarn-grid/tarn/file/tagged"

// WithVersion2 is l with 64-bit fields, which a small file never needs.
func (l Layout) WithVersion2() Layout {
	l.place(version2)
	return l
}

// Forge changes the block of one share and hashes it as if it were genuine,
// as a dishonest maker of a file can.
func (s *Segment) Forge(n int) {
	s.Blocks[n][0] ^= 1
	s.hashes[n] = tagged.Sum(tagged.Block, s.Blocks[n])
}

// ParseChain is parseChain, for its fuzz target.
var ParseChain = parseChain

// ClassOf is the class of buffers that has n bytes, and how many it has.
var ClassOf = classOf
