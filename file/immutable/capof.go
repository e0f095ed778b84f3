package immutable

import (
	"fmt"
	"io"

	"github.com/tarn-grid/tarn/file"
)

// CapOf computes the capability under which r would be stored with these
// parameters and this convergence secret, and stores nothing. It reads r
// twice, from the start to the end; a file up to file.LITThreshold bytes
// becomes a file.LIT.
func CapOf(r io.ReadSeeker, p file.Params, secret []byte) (file.Capability, error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("measure the file: %w", err)
	}
	if size <= file.LITThreshold {
		return literal(r, size)
	}
	l, err := NewLayout(size, p)
	if err != nil {
		return nil, err
	}
	key, err := keyOf(r, l, secret)
	if err != nil {
		return nil, err
	}
	return chkOf(r, l, key)
}

func rewind(r io.Seeker) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("go back to the start of the file: %w", err)
	}
	return nil
}

func literal(r io.ReadSeeker, size int64) (file.Capability, error) {
	if err := rewind(r); err != nil {
		return nil, err
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("read the file: %w", err)
	}
	return file.LIT{Data: string(data)}, nil
}

// keyOf reads the file and one byte more, which tells whether it grew.
func keyOf(r io.ReadSeeker, l Layout, secret []byte) (file.Key, error) {
	if err := rewind(r); err != nil {
		return file.Key{}, err
	}
	h := NewKeyHasher(l, secret)
	if _, err := io.CopyBuffer(h, io.LimitReader(r, l.Size+1), make([]byte, 64<<10)); err != nil {
		return file.Key{}, fmt.Errorf("hash the file: %w", err)
	}
	return h.Key()
}

func chkOf(r io.ReadSeeker, l Layout, key file.Key) (file.Capability, error) {
	if err := rewind(r); err != nil {
		return nil, err
	}
	e, err := NewEncoder(l, key)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, min(l.SegmentSize, l.Size))
	for i := range l.NumSegments {
		buf = buf[:l.SegmentLen(i)]
		if _, err := io.ReadFull(r, buf); err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
		if err := encodeAndDrop(e, i, buf); err != nil {
			return nil, err
		}
	}
	c, err := e.Finish()
	return c.WithKey(key), err
}

func encodeAndDrop(e *Encoder, i int64, plaintext []byte) error {
	s, err := e.EncodeSegment(i, plaintext)
	if err != nil {
		return err
	}
	defer s.Release()
	return e.Add(s)
}
