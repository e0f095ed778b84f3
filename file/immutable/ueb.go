package immutable

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/tagged"
	"github.com/tarn-grid/tarn/grid"
)

// maxUEB is the length in bytes from which on a URI extension block is
// refused, as by Tahoe.
const maxUEB = 2000

// codecName is the only codec there is: "crs" is zfec's.
const codecName = "crs"

// UEB is the URI extension block: what the capability's hash stands for. It
// repeats how the file is cut and holds the roots of the hash trees.
type UEB struct {
	CodecName       string
	CodecParams     string // "segsize-k-N"
	TailCodecParams string // the same for the last segment, padded
	Needed, Total   int64
	Size            int64
	SegmentSize     int64
	NumSegments     int64
	CrypttextHash   tagged.Hash // of the whole ciphertext
	CrypttextRoot   tagged.Hash // over the segments of the ciphertext
	ShareRoot       tagged.Hash // over the roots of the shares' block trees
}

// newUEB fills in all but the hashes.
func (l Layout) newUEB() UEB {
	k, n := int64(l.Needed), int64(l.Total)
	return UEB{
		CodecName:       codecName,
		CodecParams:     codecParams(l.SegmentSize, k, n),
		TailCodecParams: codecParams(roundUp(l.TailSize, k), k, n),
		Needed:          k,
		Total:           n,
		Size:            l.Size,
		SegmentSize:     l.SegmentSize,
		NumSegments:     l.NumSegments,
	}
}

func codecParams(size, k, n int64) string { return fmt.Sprintf("%d-%d-%d", size, k, n) }

// uebField is one key of the block, and how its value is written and read.
type uebField struct {
	key   string
	write func() []byte
	read  func([]byte) error
}

// fields are sorted by key, which is their order in the block.
func (u *UEB) fields() []uebField {
	return []uebField{
		textField("codec_name", &u.CodecName),
		textField("codec_params", &u.CodecParams),
		hashField("crypttext_hash", &u.CrypttextHash),
		hashField("crypttext_root_hash", &u.CrypttextRoot),
		numberField("needed_shares", &u.Needed),
		numberField("num_segments", &u.NumSegments),
		numberField("segment_size", &u.SegmentSize),
		hashField("share_root_hash", &u.ShareRoot),
		numberField("size", &u.Size),
		textField("tail_codec_params", &u.TailCodecParams),
		numberField("total_shares", &u.Total),
	}
}

func textField(key string, s *string) uebField {
	return uebField{key, func() []byte { return []byte(*s) }, func(b []byte) error {
		*s = string(b)
		return nil
	}}
}

func numberField(key string, n *int64) uebField {
	return uebField{key, func() []byte { return fmt.Append(nil, *n) }, func(b []byte) (err error) {
		*n, err = tagged.ParseDecimal(b)
		return err
	}}
}

func hashField(key string, h *tagged.Hash) uebField {
	return uebField{key, func() []byte { return h[:] }, func(b []byte) error {
		if len(b) != tagged.Size {
			return fmt.Errorf("%d bytes (want %d)", len(b), tagged.Size)
		}
		copy(h[:], b)
		return nil
	}}
}

// Encode writes the block: for each key, sorted, the key, a colon and the
// value as a netstring.
func (u UEB) Encode() []byte {
	var b []byte
	for _, f := range u.fields() {
		b = append(append(b, f.key...), ':')
		b = tagged.AppendNetstring(b, f.write())
	}
	return b
}

// HashUEB is what a capability says about a block.
func HashUEB(block []byte) tagged.Hash { return tagged.Sum(tagged.UEB, block) }

// ParseUEB reads a block. Keys may come in any order and unknown ones are
// ignored, as old versions wrote some more; none may be missing or come
// twice.
func ParseUEB(b []byte) (UEB, error) {
	if len(b) >= maxUEB {
		return UEB{}, fmt.Errorf("%w: %d bytes (want fewer than %d)", ErrUEB, len(b), maxUEB)
	}
	values, err := cutUEB(b)
	if err != nil {
		return UEB{}, err
	}
	var u UEB
	for _, f := range u.fields() {
		value, ok := values[f.key]
		if !ok {
			return UEB{}, fmt.Errorf("%w: no %s", ErrUEB, f.key)
		}
		if err := f.read(value); err != nil {
			return UEB{}, fmt.Errorf("%w: %s: %w", ErrUEB, f.key, err)
		}
	}
	return u, nil
}

func cutUEB(b []byte) (map[string][]byte, error) {
	values := map[string][]byte{}
	for len(b) > 0 {
		key, rest, ok := bytes.Cut(b, []byte{':'})
		if !ok || !isUEBKey(key) {
			return nil, fmt.Errorf("%w: no key where one should be", ErrUEB)
		}
		value, rest, err := tagged.CutNetstring(rest)
		if err != nil {
			return nil, fmt.Errorf("%w: value of %s: %w", ErrUEB, key, err)
		}
		if _, twice := values[string(key)]; twice {
			return nil, fmt.Errorf("%w: %s twice", ErrUEB, key)
		}
		values[string(key)] = value
		b = rest
	}
	return values, nil
}

func isUEBKey(key []byte) bool {
	return len(key) > 0 && !slices.ContainsFunc(key, func(c byte) bool {
		return c != '_' && c != '-' && (c|0x20 < 'a' || c|0x20 > 'z')
	})
}

// Layout computes the layout that the block describes, and refuses a block
// whose numbers contradict each other.
func (u UEB) Layout() (Layout, error) {
	if u.Needed > grid.MaxShares || u.Total > grid.MaxShares {
		return Layout{}, fmt.Errorf("%w: %d of %d shares", ErrUEB, u.Needed, u.Total)
	}
	l, err := NewLayout(u.Size, file.Params{
		Needed: int(u.Needed),
		Total:  int(u.Total),
		// Rounded up to a multiple of k it may be a little above the bound.
		SegmentSize: min(u.SegmentSize, file.MaxSegmentSize),
	})
	if err != nil {
		return Layout{}, fmt.Errorf("%w: %w", ErrUEB, err)
	}
	want := l.newUEB()
	for _, f := range []struct {
		name      string
		got, want any
	}{
		{"codec_name", u.CodecName, want.CodecName},
		{"segment_size", u.SegmentSize, want.SegmentSize},
		{"num_segments", u.NumSegments, want.NumSegments},
		{"codec_params", u.CodecParams, want.CodecParams},
		{"tail_codec_params", u.TailCodecParams, want.TailCodecParams},
	} {
		if f.got != f.want {
			return Layout{}, fmt.Errorf("%w: %s is %v (want %v)", ErrUEB, f.name, f.got, f.want)
		}
	}
	return l, nil
}
