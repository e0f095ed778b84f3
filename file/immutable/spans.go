package immutable

import "slices"

// spans are pieces of a share body that were fetched and not used yet.
type spans []span

type span struct {
	off  int64
	data []byte
}

func (s span) end() int64 { return s.off + int64(len(s.data)) }

// add keeps data, which must not change any more.
func (s *spans) add(off int64, data []byte) {
	if len(data) > 0 {
		*s = append(*s, span{off, data})
	}
}

// get returns the bytes of r if all are there, without copying them if they
// are in one piece.
func (s spans) get(r Range) ([]byte, bool) {
	for _, p := range s {
		if p.off <= r.Off && p.end() >= r.End() {
			return p.data[r.Off-p.off : r.End()-p.off : r.End()-p.off], true
		}
	}
	if len(s.gaps(r)) > 0 {
		return nil, false
	}
	b := make([]byte, r.Len)
	for _, p := range s {
		from, to := max(p.off, r.Off), min(p.end(), r.End())
		if from < to {
			copy(b[from-r.Off:to-r.Off], p.data[from-p.off:])
		}
	}
	return b, true
}

// gaps are the parts of r that are not there, ascending.
func (s spans) gaps(r Range) []Range {
	gaps := []Range{r}
	for _, p := range s {
		var left []Range
		for _, g := range gaps {
			left = append(left, subtract(g, Range{p.off, int64(len(p.data))})...)
		}
		gaps = left
	}
	return slices.DeleteFunc(gaps, func(g Range) bool { return g.Len == 0 })
}

// subtract returns what is left of r without cut, at most two ranges.
func subtract(r, cut Range) []Range {
	if cut.End() <= r.Off || cut.Off >= r.End() {
		return []Range{r}
	}
	var left []Range
	if cut.Off > r.Off {
		left = append(left, Range{r.Off, cut.Off - r.Off})
	}
	if cut.End() < r.End() {
		left = append(left, Range{cut.End(), r.End() - cut.End()})
	}
	return left
}

// drop forgets the bytes of r.
func (s *spans) drop(r Range) {
	var kept spans
	for _, p := range *s {
		for _, left := range subtract(Range{p.off, int64(len(p.data))}, r) {
			kept.add(left.Off, p.data[left.Off-p.off:left.End()-p.off])
		}
	}
	*s = kept
}

// joinGap is how many bytes more are fetched to make two ranges one.
const joinGap = 256

// joined sorts ranges and makes one of those that overlap or nearly touch.
func joined(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return int(min(max(a.Off-b.Off, -1), 1)) })
	var out []Range
	for _, r := range ranges {
		if n := len(out); n > 0 && r.Off <= out[n-1].End()+joinGap {
			out[n-1].Len = max(out[n-1].End(), r.End()) - out[n-1].Off
			continue
		}
		out = append(out, r)
	}
	return out
}
