package immutable_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
)

// vector is one case of Tahoe-LAFS's integration/vectors/test_vectors.yaml.
type vector struct {
	Convergence string
	Expected    string
	Sample      struct {
		Length int
		Seed   string
	}
	Zfec struct {
		Required, Total int
		SegmentSize     int64 `yaml:"segmentSize"`
	}
}

func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile("../testdata/tahoe_caps.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Vector []vector }
	if err := yaml.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	return all.Vector
}

func unbase64(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPublishedVectors(t *testing.T) {
	tried := 0
	for _, v := range vectors(t) {
		if !strings.HasPrefix(v.Expected, "URI:CHK:") {
			continue
		}
		tried++
		seed := unbase64(t, v.Sample.Seed)
		data := bytes.Repeat(seed, v.Sample.Length/len(seed)+1)[:v.Sample.Length]
		p := file.Params{Needed: v.Zfec.Required, Total: v.Zfec.Total, SegmentSize: v.Zfec.SegmentSize}
		got, err := immutable.CapOf(bytes.NewReader(data), p, unbase64(t, v.Convergence))
		if err != nil || got.String() != v.Expected {
			t.Errorf("%d bytes, %d of %d: %v, %v; want %s", v.Sample.Length, p.Needed, p.Total, got, err, v.Expected)
		}
	}
	if tried != 9 {
		t.Errorf("%d cases were tried (want 9)", tried)
	}
}

func TestSmallFilesAreLiteral(t *testing.T) {
	for size, want := range map[int]file.Kind{0: file.KindLIT, 55: file.KindLIT, 56: file.KindCHK} {
		got, err := immutable.CapOf(bytes.NewReader(make([]byte, size)), file.DefaultParams(), nil)
		if err != nil || got.Kind() != want {
			t.Errorf("%d bytes give %v, %v; want %s", size, got, err, want)
		}
	}
}

// growing is a file that has more or fewer bytes than its size said.
type growing struct{ *bytes.Reader }

func (g growing) Seek(off int64, whence int) (int64, error) {
	end, err := g.Reader.Seek(off, whence)
	if whence == 2 {
		return 100, err
	}
	return end, err
}

func TestCapOfNoticesAnotherSize(t *testing.T) {
	for _, size := range []int{99, 101} {
		_, err := immutable.CapOf(growing{bytes.NewReader(make([]byte, size))}, file.DefaultParams(), nil)
		if !errors.Is(err, immutable.ErrSize) {
			t.Errorf("%d bytes instead of 100: %v", size, err)
		}
	}
}
