package immutable

import (
	"bytes"
	"fmt"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// uebGuess is how many bytes more than ours a URI extension block may have to
// be fetched in one go: numbers of another length, keys of old versions.
const uebGuess = 128

// maxGuess is the largest segment, in bytes, of which blocks are fetched
// before its size is proven.
const maxGuess = 4 * file.DefaultSegmentSize

// needs lists where everything lies that share s must give for a segment, as
// far as it can be told yet.
func (r *Reader) needs(s *readShare, segment int64) []need {
	l, proven := r.Layout()
	header := l.Header()
	needs := []need{}
	if s.header == nil {
		needs = append(needs, need{Range{0, headerSize1}, true}, need{Range{0, MaxHeaderSize}, false})
	} else {
		header = *s.header
	}
	certain := s.header != nil
	if !proven {
		needs = append(needs, r.uebNeeds(s, header, certain)...)
	}
	if s.blocks == nil {
		chain := Range{header.ShareHashes, min(header.UEB-header.ShareHashes, maxChain)}
		needs = append(needs, need{chain, certain})
	}
	if segment >= l.NumSegments {
		return needs
	}
	certain = certain && proven
	for _, t := range r.treeNeeds(s, l, header, segment) {
		needs = append(needs, need{t, certain})
	}
	l.Offsets = header.Offsets
	return append(needs, need{l.BlockRange(segment), certain})
}

// uebNeeds are the URI extension block and its length. How long it is, is
// guessed until that was seen.
func (r *Reader) uebNeeds(s *readShare, h Header, certain bool) []need {
	length := Range{h.UEB, uebLengthSize(h.Version)}
	if b, ok := s.spans.get(length); ok && certain {
		return []need{{Range{h.UEB, length.Len + int64(min(number(b), maxUEB))}, true}}
	}
	return []need{{length, certain}, {Range{h.UEB, length.Len + r.guess.UEBSize + uebGuess}, false}}
}

// treeNeeds are the nodes that are missing in the two trees over segments.
func (r *Reader) treeNeeds(s *readShare, l Layout, h Header, segment int64) []Range {
	blocks, crypt := s.blocks, r.cryptTree
	if blocks == nil {
		blocks = hashtree.NewPartial(l.NumSegments, tagged.Hash{})
	}
	if crypt == nil {
		crypt = hashtree.NewPartial(l.NumSegments, tagged.Hash{})
	}
	return append(nodeRanges(h.BlockTree, blocks.Missing(segment)),
		nodeRanges(h.CrypttextTree, crypt.Missing(segment))...)
}

func nodeRanges(tree int64, spans []hashtree.Span) []Range {
	var ranges []Range
	for _, s := range spans {
		ranges = append(ranges, Range{tree + s.First*tagged.Size, s.Count * tagged.Size})
	}
	return ranges
}

// learn takes all that the fetched bytes can prove, in the order in which one
// thing proves the next. What is not there yet is no error.
func (r *Reader) learn(n grid.ShareNum, s *readShare, segment int64) error {
	for _, step := range []func(grid.ShareNum, *readShare) error{r.learnHeader, r.learnUEB, r.learnChain} {
		if err := step(n, s); err != nil {
			return err
		}
	}
	if !r.proven || s.blocks == nil || segment < 0 || segment >= r.layout.NumSegments {
		return nil
	}
	if err := learnNodes(s, s.blocks, s.header.BlockTree, segment); err != nil {
		return fmt.Errorf("%w: block hash tree: %w", ErrShare, err)
	}
	if err := learnNodes(s, r.cryptTree, s.header.CrypttextTree, segment); err != nil {
		return fmt.Errorf("%w: crypttext hash tree: %w", ErrShare, err)
	}
	return nil
}

func (r *Reader) learnHeader(_ grid.ShareNum, s *readShare) error {
	if s.header != nil {
		return nil
	}
	b, ok := s.spans.get(Range{0, headerSize1})
	if !ok {
		return nil
	}
	version, err := parseVersion(b)
	if err != nil {
		return err
	}
	if b, ok = s.spans.get(Range{0, headerSize(version)}); !ok {
		if s.end < headerSize(version) {
			return fmt.Errorf("%w: it ends after %d bytes", ErrHeader, s.end)
		}
		return nil
	}
	h, err := ParseHeader(b)
	if err != nil {
		return err
	}
	s.header = &h
	r.guessFrom(h)
	return nil
}

// guessFrom improves the guess by a header's block size: it isn't trusted,
// but mostly right. What a lie can make us fetch in vain is bounded.
func (r *Reader) guessFrom(h Header) {
	k := int64(r.cap.Needed)
	if h.BlockSize < 1 || h.BlockSize > maxGuess/k {
		return
	}
	l, err := NewLayout(r.cap.Size, file.Params{Needed: r.cap.Needed, Total: r.cap.Total, SegmentSize: h.BlockSize * k})
	if err == nil {
		r.guess = l
	}
}

func (r *Reader) learnUEB(_ grid.ShareNum, s *readShare) error {
	if r.proven || s.header == nil {
		return nil
	}
	size := uebLengthSize(s.header.Version)
	b, ok := s.spans.get(Range{s.header.UEB, size})
	if !ok {
		return nil
	}
	n := number(b)
	if n >= maxUEB {
		return fmt.Errorf("%w: %d bytes (want fewer than %d)", ErrUEB, n, maxUEB)
	}
	at := Range{s.header.UEB + size, int64(n)}
	if b, ok = s.spans.get(at); !ok {
		return nil
	}
	s.spans.drop(Range{s.header.UEB, size + at.Len})
	if HashUEB(b) != r.cap.UEBHash {
		return fmt.Errorf("%w: it is not the one that the capability names", ErrUEB)
	}
	r.fatal = r.prove(b)
	return r.fatal
}

// prove takes the URI extension block that the capability names. If that one
// is wrong no share can help.
func (r *Reader) prove(block []byte) error {
	ueb, err := ParseUEB(block)
	if err != nil {
		return err
	}
	l, err := ueb.Layout()
	if err != nil {
		return err
	}
	if l.Needed != r.cap.Needed || l.Total != r.cap.Total || l.Size != r.cap.Size {
		return fmt.Errorf("%w: the file has %d of %d shares and %d bytes, the capability says %d of %d and %d",
			ErrCapability, l.Needed, l.Total, l.Size, r.cap.Needed, r.cap.Total, r.cap.Size)
	}
	l.UEBSize = int64(len(block)) // an old version may have written more into it
	l.place(l.Version)
	r.layout, r.ueb, r.proven = l, bytes.Clone(block), true
	r.shareTree = hashtree.NewPartial(ueb.Total, ueb.ShareRoot)
	r.cryptTree = hashtree.NewPartial(l.NumSegments, ueb.CrypttextRoot)
	return nil
}

// learnChain proves the root of the share's block tree.
func (r *Reader) learnChain(n grid.ShareNum, s *readShare) error {
	if !r.proven || s.header == nil || s.blocks != nil {
		return nil
	}
	if err := s.header.fits(r.layout); err != nil {
		return err
	}
	at := Range{s.header.ShareHashes, s.header.UEB - s.header.ShareHashes}
	b, ok := s.spans.get(at)
	if !ok {
		return nil
	}
	s.spans.drop(at)
	chain, err := parseChain(b)
	if err != nil {
		return err
	}
	if err := r.shareTree.Add(chain); err != nil {
		return fmt.Errorf("%w: share hash chain: %w", ErrShare, err)
	}
	root, ok := r.shareTree.Leaf(int64(n))
	if !ok {
		return fmt.Errorf("%w: share hash chain of another share", ErrShare)
	}
	s.blocks = hashtree.NewPartial(r.layout.NumSegments, root)
	return nil
}

// fits checks that each section has room for what is read from it. What else
// the header says is not trusted and doesn't matter.
func (h Header) fits(l Layout) error {
	tree := hashtree.Size(l.NumSegments)
	for _, s := range []struct {
		name              string
		first, next, want int64
	}{
		{"data", h.Data, h.PlaintextTree, l.DataSize()},
		{"crypttext hash tree", h.CrypttextTree, h.BlockTree, tree},
		{"block hash tree", h.BlockTree, h.ShareHashes, tree},
	} {
		if s.next-s.first < s.want {
			return fmt.Errorf("%w: the %s has %d bytes (want %d)", ErrHeader, s.name, s.next-s.first, s.want)
		}
	}
	if chain := h.UEB - h.ShareHashes; chain < hashtree.ChainEntry || chain > maxChain {
		return fmt.Errorf("%w: the share hash chain has %d bytes", ErrHeader, chain)
	}
	return nil
}

// learnNodes adds the nodes that are missing for a segment, if all are there.
func learnNodes(s *readShare, tree *hashtree.Partial, off, segment int64) error {
	missing := tree.Missing(segment)
	claimed := map[int64]tagged.Hash{}
	for _, m := range missing {
		b, ok := s.spans.get(Range{off + m.First*tagged.Size, m.Count * tagged.Size})
		if !ok {
			return nil
		}
		for i := range m.Count {
			claimed[m.First+i] = tagged.Hash(b[i*tagged.Size:])
		}
	}
	for _, at := range nodeRanges(off, missing) {
		s.spans.drop(at)
	}
	return tree.Add(claimed)
}
