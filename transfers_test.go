package tarn_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

// TestTransfers: each file that goes either way is told of, while it goes and
// after, and the oldest are forgotten.
func TestTransfers(t *testing.T) {
	g := newGrid(t, 1, file.Params{Needed: 1, Happy: 1, Total: 1, SegmentSize: 128 << 10})
	data := random(1 << 20)
	put := g.put(data)
	c, err := file.Parse(put.Cap)
	if err != nil {
		t.Fatal(err)
	}
	index, _ := file.StorageIndexOf(c)
	last := func() tarn.Transfer {
		t.Helper()
		active, recent := g.client.Transfers()
		if len(active) != 0 || len(recent) == 0 {
			t.Fatalf("active %+v, recent %+v", active, recent)
		}
		return recent[0]
	}
	if x := last(); x.Kind != tarn.Upload || x.StorageIndex != index || x.Size != 1<<20 || x.Done != 1<<20 || x.Err != nil || x.Ended.Before(x.Started) || x.Started.IsZero() ||
		x.Number != 0 || len(x.Placement) != 1 || x.Happiness != 1 {
		t.Errorf("%+v", x)
	}
	f, err := g.client.Open(t.Context(), put.Cap)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	during := writerFunc(func([]byte) error {
		active, _ := g.client.Transfers()
		if len(active) != 1 || active[0].Kind != tarn.Download || active[0].StorageIndex != index || active[0].Size != 600000 || active[0].Done >= active[0].Size || !active[0].Ended.IsZero() {
			t.Errorf("meanwhile: %+v", active)
		}
		return nil
	})
	if err := f.WriteRange(during, 5, 600000); err != nil {
		t.Fatal(err)
	}
	if x := last(); x.Kind != tarn.Download || x.Done != 600000 || x.Err != nil {
		t.Errorf("%+v", x)
	}
	enough := errors.New("enough")
	if err := f.WriteRange(writerFunc(func([]byte) error { return enough }), 0, 1000); !errors.Is(err, enough) {
		t.Errorf("a reader who has enough: %v", err)
	}
	if x := last(); !errors.Is(x.Err, enough) || x.Done != 0 || x.Size != 1000 || x.Number != 1 {
		t.Errorf("%+v", x)
	}
	made, err := g.client.CreateMutable(t.Context(), bytes.NewReader(data[:100]), tarn.MutableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if x := last(); x.Kind != tarn.Publish || x.Size != 100 || x.Done != 100 || x.Number != 0 || len(x.Placement) != 1 || x.Happiness != 1 {
		t.Errorf("%+v", x)
	}
	for range 60 {
		if _, _, err := g.client.ReadMutable(t.Context(), made.Cap); err != nil {
			t.Fatal(err)
		}
	}
	if _, recent := g.client.Transfers(); len(recent) != 50 || recent[49].Kind != tarn.Retrieve || recent[0].Done != 100 || recent[0].Number != 59 {
		t.Errorf("%d are remembered, the last is %+v", len(recent), recent[0])
	}
	families, err := g.client.Metrics().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		want, ok := map[string]float64{"tarn_publish_files_total": 1, "tarn_retrieve_files_total": 60}[f.GetName()]
		if got := f.GetMetric()[0].GetCounter().GetValue(); ok && got != want {
			t.Errorf("%s: %v, want %v", f.GetName(), got, want)
		}
	}
}

type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) { return len(p), f(p) }
