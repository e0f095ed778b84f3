package immutable

import (
	"fmt"
	"math"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/aesctr"
	"github.com/tarn-grid/tarn/file/erasure"
	"github.com/tarn-grid/tarn/file/hashtree"
	"github.com/tarn-grid/tarn/grid"
)

// Reader is what is known about the shares of one file while it is read. For
// each share and segment: Want says which bytes to fetch, Got takes them, and
// when Want wants nothing more, Block hands out the block to be checked; k
// checked blocks make a Decoding. Nothing is believed before it is proven by
// the capability, and a share that is proven bad leaves no trace in what is
// known about the others.
//
// A Reader belongs to one goroutine and its methods are cheap: they hash a
// few kilobytes at most. BlockCheck and Decoding hold the heavy work; they
// share nothing with the Reader that changes, and can run anywhere.
type Reader struct {
	cap    file.CHKVerifier
	cipher *aesctr.Cipher // nil where ciphertext is wanted
	coder  *erasure.Coder

	guess  Layout // by default parameters
	layout Layout // once ueb is proven
	ueb    []byte
	proven bool

	shareTree *hashtree.Partial // over the shares' block tree roots
	cryptTree *hashtree.Partial // over the ciphertext's segments

	shares map[grid.ShareNum]*readShare
	fatal  error // no share can help
}

// readShare is what is known about one share.
type readShare struct {
	spans  spans
	end    int64 // the share has no bytes from here on; a server said so
	header *Header
	blocks *hashtree.Partial // once the share hash chain was proven
	err    error             // the share is bad
}

// NewReader starts to read the file that c names.
func NewReader(c file.CHK) (*Reader, error) {
	r, err := NewCiphertextReader(c.Verifier())
	if err == nil {
		r.cipher = aesctr.New(c.Key)
	}
	return r, err
}

// NewCiphertextReader starts to read a file as it is encrypted, for which its
// verify capability is enough: what a Decoding gives is ciphertext.
func NewCiphertextReader(c file.CHKVerifier) (*Reader, error) {
	coder, err := erasure.New(c.Needed, c.Total)
	if err != nil {
		return nil, err
	}
	guess, err := NewLayout(c.Size, file.Params{
		Needed: c.Needed, Total: c.Total, SegmentSize: file.DefaultSegmentSize,
	})
	if err != nil {
		return nil, err
	}
	return &Reader{
		cap: c, coder: coder, guess: guess, shares: map[grid.ShareNum]*readShare{},
	}, nil
}

// Layout is how the file is cut; until proven is true, which it becomes with
// the first share, only its Size, Needed and Total are certain, and the rest
// is what default parameters would give.
func (r *Reader) Layout() (l Layout, proven bool) {
	if r.proven {
		return r.layout, true
	}
	return r.guess, false
}

// UEB is the URI extension block that the capability names, nil before the
// layout is proven.
func (r *Reader) UEB() []byte { return r.ueb }

func (r *Reader) share(n grid.ShareNum) *readShare {
	s := r.shares[n]
	if s == nil {
		s = &readShare{end: maxOffset}
		r.shares[n] = s
	}
	return s
}

// Forget drops all that was fetched of share n and not used, and that it was
// bad: the next time it may come from another server.
func (r *Reader) Forget(n grid.ShareNum) { delete(r.shares, n) }

// Got takes what a server sent of share n for one wanted range. Fewer bytes
// than wanted mean that the share ends there; data is kept and must not be
// changed. More than wanted, or a share that ends and goes on, is a
// *ShareError.
func (r *Reader) Got(n grid.ShareNum, want Range, data []byte) error {
	s := r.share(n)
	if s.err != nil {
		return s.err
	}
	got := int64(len(data))
	if got > want.Len || got > 0 && want.Off+got > s.end {
		return s.bad(n, fmt.Errorf("%w: more bytes than were asked for", ErrShare))
	}
	if got < want.Len {
		s.end = min(s.end, want.Off+got)
	}
	s.spans.add(want.Off, data)
	return nil
}

// bad marks the share and lets go of what was fetched of it.
func (s *readShare) bad(n grid.ShareNum, err error) error {
	*s = readShare{err: &ShareError{n, err}}
	return s.err
}

// Want lists what to fetch of share n so that its block of the given segment
// can be checked; nothing if Block has it. The first answer for a share is a
// guess that is right for files stored with default parameters, and saves a
// round trip then; it may reach past the end of the share. An error is a
// *ShareError if another share may do better.
func (r *Reader) Want(n grid.ShareNum, segment int64) ([]Range, error) {
	s, err := r.learned(n, segment)
	if err != nil {
		return nil, err
	}
	return r.gaps(n, s, segment)
}

// beyond is a segment that no file has: nothing of its block is needed.
const beyond = math.MaxInt64

// WantLayout lists what to fetch of share n so that the layout is proven;
// nothing once it is. Errors are those of Want.
func (r *Reader) WantLayout(n grid.ShareNum) ([]Range, error) {
	s, err := r.learned(n, beyond)
	if err != nil || r.proven {
		return nil, err
	}
	return r.gaps(n, s, beyond)
}

// learned is what is known of a share, with all that the fetched bytes prove.
func (r *Reader) learned(n grid.ShareNum, segment int64) (*readShare, error) {
	if r.fatal != nil {
		return nil, r.fatal
	}
	if int(n) >= r.cap.Total {
		return nil, &ShareError{n, fmt.Errorf("%w: there are %d", ErrShare, r.cap.Total)}
	}
	s := r.share(n)
	if s.err != nil {
		return nil, s.err
	}
	if err := r.learn(n, s, segment); err != nil {
		if r.fatal != nil {
			return nil, r.fatal
		}
		return nil, s.bad(n, err)
	}
	return s, nil
}

// gaps are the needed ranges without what is there. A range past the end that
// a server reported can be a wrong guess, but not once the layout is proven.
func (r *Reader) gaps(n grid.ShareNum, s *readShare, segment int64) ([]Range, error) {
	if l, proven := r.Layout(); segment < 0 || proven && segment >= l.NumSegments {
		return nil, fmt.Errorf("%w: segment %d of %d", ErrSize, segment, l.NumSegments)
	}
	var gaps []Range
	for _, w := range r.needs(s, segment) {
		for _, g := range s.spans.gaps(w.Range) {
			if g.End() <= s.end {
				gaps = append(gaps, g)
			} else if w.certain {
				return nil, s.bad(n, fmt.Errorf("%w: it ends after %d bytes", ErrShare, s.end))
			} else if g.Off < s.end {
				gaps = append(gaps, Range{g.Off, s.end - g.Off})
			}
		}
	}
	return joined(gaps), nil
}

// need is a range, certain unless it is a guess.
type need struct {
	Range
	certain bool
}
