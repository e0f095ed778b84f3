package mutable_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tarn-grid/tarn/file/mutable"
)

func FuzzShare(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.shares[0])
		f.Add(g.shares[0][:mutable.MaxHeaderSize])
	}
	c := goldenKey(f).Capability(mutable.SDMF)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := mutable.Cut(b)
		if err != nil {
			if !errors.Is(err, mutable.ErrShare) {
				t.Errorf("%x: %v", b, err)
			}
			return
		}
		if got := s.Header.Encode(); !bytes.HasPrefix(b, got) {
			t.Errorf("%x reads as %+v, which prints as %x", b, s.Header, got)
		}
		if err := s.Verify(c, 0); err != nil && !errors.Is(err, mutable.ErrShare) {
			t.Errorf("%x: %v", b, err)
		}
		if blocks, err := s.Blocks(0); err == nil {
			for i := range min(s.Header.NumSegments(), 100) {
				blocks.Missing(i)
				if s.Data != nil {
					_ = blocks.Check(i, s.Block(i))
				}
			}
		} else if !errors.Is(err, mutable.ErrShare) {
			t.Errorf("%x: %v", b, err)
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add([]byte(vectors(f)[0].Format.Params.Key))
	f.Fuzz(func(t *testing.T, b []byte) {
		if k, err := mutable.ParsePEM(b); err == nil {
			k.Capability(mutable.SDMF)
		} else if !errors.Is(err, mutable.ErrKey) {
			t.Errorf("%q: %v", b, err)
		}
	})
}
