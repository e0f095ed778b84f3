//go:build integration

package nodes

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// Random is size bytes that only depend on the seed.
func Random(seed uint64, size int64) io.Reader {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	return io.LimitReader(rand.NewChaCha8(key), size)
}

// RandomFile writes such bytes to a file of the test.
func RandomFile(t testing.TB, seed uint64, size int64) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "random"))
	if err == nil {
		_, err = io.Copy(f, Random(seed, size))
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// Compare is a writer that checks what it gets against what is expected.
type Compare struct {
	want   io.Reader
	buffer []byte
	// N is how many bytes came; Differs says that some were not the expected.
	N       int64
	Differs bool
}

// NewCompare expects what want has.
func NewCompare(want io.Reader) *Compare { return &Compare{want: want} }

// Write implements io.Writer.
func (c *Compare) Write(b []byte) (int, error) {
	if len(c.buffer) < len(b) {
		c.buffer = make([]byte, len(b))
	}
	want := c.buffer[:len(b)]
	if _, err := io.ReadFull(c.want, want); err != nil || !bytes.Equal(b, want) {
		c.Differs = true
	}
	c.N += int64(len(b))
	return len(b), nil
}
