package store

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/lease"
)

var rewrite = flag.Bool("rewrite-golden", false, "write testdata/format-3 anew; only before it was released")

const golden = "testdata/format-3"

// goldenShares are what the folders were filled with.
var goldenShares = []struct {
	id    lease.ShareID
	grant lease.Grant
	size  int
}{
	{testShare(1), own(1), 300},
	{testShare(2), under(1, 2, 7), 5},
	{testShare(3), own(1), SmallShare + 100},
}

// goldenWrites are of shares that can be changed, which format 3 has.
var goldenWrites = []struct {
	id   lease.ShareID
	size int
}{
	{testShare(4), 700},
	{testShare(4), 400},
	{testShare(5), 400},
	{testShare(5), SmallShare + 200},
}

func writeGolden(t *testing.T) {
	must(t, os.RemoveAll(golden))
	must(t, os.MkdirAll(golden, 0o755))
	s := serve(t, mustOpen(t, vfs.Default, golden))
	quota, until, op := int64(1<<40), start.Unix()+1e9, lease.AllOperations
	s.apply(s.ledger.PutRoots(lease.Root{
		Key: testKey(1), Petname: "Zoë", Quota: &quota, Until: &until, Operation: &op,
	}))
	s.apply(s.ledger.SetRevoked(true, testKey(9)))
	for _, g := range goldenShares {
		g.grant.Certificates = goldenCertificates(g.grant)
		s.put(g.grant, g.id, content(g.size))
	}
	s.apply(s.ledger.PutRoots(lease.Root{Key: testKey(5)}))
	s.apply(s.ledger.RemoveRoots(true, testKey(5)))
	for _, w := range goldenWrites {
		s.apply(s.write(own(1), w.id, content(w.size)))
	}
	s.ledger.CountTraffic(start, own(1), lease.Traffic{In: 11, Out: 22})
	s.ledger.CountTraffic(start, under(1, 2, 7), lease.Traffic{In: 3, Out: 4})
	s.apply(s.ledger.FlushTraffic())
	must(t, s.Close())
	must(t, os.Remove(filepath.Join(golden, "incoming")))
	must(t, os.Remove(filepath.Join(golden, "ballast")))
}

// goldenCertificates is the chain of a grant that has one.
func goldenCertificates(g lease.Grant) []byte {
	if len(g.Keys) < 2 {
		return nil
	}
	return []byte("the chain as it was shown")
}

// A folder that the first version wrote opens, with everything in it, and is
// brought up to date.
func TestGoldenFormat1(t *testing.T) {
	s := openGolden(t, "testdata/format-1")
	if found, err := formatOf(s.eng); found != format || err != nil {
		t.Errorf("it has format %d after it was opened, want %d (%v)", found, format, err)
	}
}

func TestGoldenFormat2(t *testing.T) {
	s := openGolden(t, "testdata/format-2")
	if found, err := formatOf(s.eng); found != format || err != nil {
		t.Errorf("it has format %d after it was opened, want %d (%v)", found, format, err)
	}
	s.wantFormat2()
}

func TestGoldenFormat3(t *testing.T) {
	if *rewrite {
		writeGolden(t)
	}
	s := openGolden(t, golden)
	s.wantFormat2()
	for _, id := range []lease.ShareID{testShare(4), testShare(5)} {
		share, _, err := s.Share(id)
		must(t, err)
		if share.Writes != 2 || !share.Enabler.Equal(testEnabler) || share.UEBHash != (lease.UEBHash{}) {
			t.Errorf("share %v is %+v", id, share)
		}
	}
	s.wantContent(testShare(4), content(400))
	s.wantContent(testShare(5), content(SmallShare+200))
}

// wantFormat2 is what there is since that format.
func (s *server) wantFormat2() {
	t := s.t
	t.Helper()
	for _, g := range goldenShares {
		l, _, err := s.Lease(lease.LeaseID{Column: g.grant.Column(), Share: g.id})
		must(t, err)
		shown, _, err := s.Certificates(l.Chain)
		must(t, err)
		if want := goldenCertificates(g.grant); string(shown) != string(want) {
			t.Errorf("chain of %v is %q, want %q", g.id, shown, want)
		}
	}
	s.wantTraffic(lease.RootCounterKey(testKey(1)), lease.Traffic{In: 14, Out: 26})
	s.wantTraffic(lease.PairCounterKey(testKey(1), testKey(2)), lease.Traffic{In: 3, Out: 4})
	if roots, err := s.CancellingRoots(); err != nil || len(roots) != 1 || roots[0] != testKey(5) {
		t.Errorf("to be cancelled: %v, %v", roots, err)
	}
}

func (s *server) wantTraffic(k lease.CounterKey, want lease.Traffic) {
	s.t.Helper()
	if got, err := s.ledger.Traffic(k, lease.DayOf(start)); got != want || err != nil {
		s.t.Errorf("traffic of %v is %v, want %v (%v)", k, got, want, err)
	}
}

// openGolden opens a copy and looks at what all formats have.
func openGolden(t *testing.T, folder string) *server {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(folder)))
	s := serve(t, mustOpen(t, vfs.Default, dir))
	for _, g := range goldenShares {
		s.wantContent(g.id, content(g.size))
		l, ok, err := s.Lease(lease.LeaseID{Column: g.grant.Column(), Share: g.id})
		must(t, err)
		if !ok || l.Size != int64(g.size) || l.Made != start.Unix() || l.Expires != start.Add(lease.LeaseDuration).Unix() {
			t.Errorf("lease on %v is %+v, %v", g.id, l, ok)
		}
	}
	s.wantConsistent()
	wantGoldenRoot(t, s.Store)
	if revoked, err := s.Revoked(testKey(9)); !revoked || err != nil {
		t.Errorf("revoked key: %v, %v", revoked, err)
	}
	s.wantTraffic(lease.ColumnCounterKey(own(1).Column()), lease.Traffic{In: 11, Out: 22})
	return s
}

func wantGoldenRoot(t *testing.T, s *Store) {
	t.Helper()
	roots, err := s.Roots()
	must(t, err)
	if len(roots) != 1 {
		t.Fatalf("%d roots", len(roots))
	}
	r := roots[0]
	if r.Key != testKey(1) || r.Petname != "Zoë" || *r.Quota != 1<<40 || *r.Until != start.Unix()+1e9 ||
		*r.Operation != lease.AllOperations || r.Disabled {
		t.Errorf("root %+v", r)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, "/store")
	must(t, write(s.eng, batch{{key: formatKey, value: encodeNumber(format + 1)}}))
	must(t, s.Close())
	if _, err := Open("/store", Options{FS: fs}); !errors.Is(err, ErrNewer) {
		t.Errorf("open of a newer format: %v", err)
	}
}

func TestForeignTableIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	s := mustOpen(t, fs, "/store")
	must(t, write(s.eng, batch{{key: formatKey, delete: true}, {key: []byte("other"), value: []byte("thing")}}))
	must(t, s.Close())
	if _, err := Open("/store", Options{FS: fs}); !errors.Is(err, ErrDamaged) {
		t.Errorf("open of a table without a format: %v", err)
	}
}

// Each step runs once, in order, whatever the number of restarts, and one that
// fails changes nothing.
func TestUpgradeTakesEachStepOnce(t *testing.T) {
	s := NewMemory()
	must(t, write(s.eng, batch{{key: formatKey, value: encodeNumber(1)}}))
	mark := func(name string) func(*Store) (batch, error) {
		return func(s *Store) (batch, error) {
			b, _, err := s.eng.get(metaKey("test"))
			return batch{{key: metaKey("test"), value: append(b, name...)}}, err
		}
	}
	broken := errors.New("broken step")
	fail := func(*Store) (batch, error) { return nil, broken }
	if err := s.upgrade([]func(*Store) (batch, error){mark("a"), fail}); !errors.Is(err, broken) {
		t.Fatalf("upgrade over a broken step: %v", err)
	}
	for range 2 {
		must(t, s.upgrade([]func(*Store) (batch, error){mark("a"), mark("b")}))
	}
	got, _, err := s.eng.get(metaKey("test"))
	must(t, err)
	if found, _ := formatOf(s.eng); string(got) != "ab" || found != 3 {
		t.Errorf("steps %q were taken, format %d", got, found)
	}
}

// What the operator decided comes back, each part by itself.
func TestRootRecord(t *testing.T) {
	for _, r := range []lease.Root{
		{}, {Petname: "Zoë"}, {Quota: new(int64(5))}, {Operation: new(lease.OpUpload)}, {Until: new(int64(-1))},
		{Disabled: true}, {Manager: true}, {UsageOfAll: true},
		{Petname: "M", Quota: new(int64(0)), Operation: new(lease.AllOperations), Until: new(int64(1)), Disabled: true, Manager: true},
	} {
		if got, err := decodeRoot(encodeRoot(r)); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	}
}

// A record that was cut or made longer is an error, never a wrong value.
func TestDamagedRecords(t *testing.T) {
	l := encodeLease(lease.Lease{Made: 1, Renewed: 2, Expires: 3 << 30, Size: 1 << 40, Chain: 99})
	sh := encodeShare(lease.Share{State: lease.Stable, Size: 5, File: 3, Leases: 1})
	mutable := encodeShare(lease.Share{State: lease.Stable, Size: 5, Leases: 1, Enabler: testEnabler, Writes: 3})
	root := encodeRoot(lease.Root{Petname: "Bob", Quota: new(int64(5)), Until: new(int64(-1)), Disabled: true})
	chain := chainRecord{column: 7, keys: []uint32{1, 300}, pairs: [][2]uint32{{1, 300}}}.encode()
	for name, c := range map[string]struct {
		good   []byte
		decode func([]byte) error
	}{
		"lease":                     {l, func(b []byte) error { _, err := decodeLease(b); return err }},
		"share":                     {sh, func(b []byte) error { _, err := decodeShare(b); return err }},
		"share that can be changed": {mutable, func(b []byte) error { _, err := decodeShare(b); return err }},
		"root":                      {root, func(b []byte) error { _, err := decodeRoot(b); return err }},
		"chain":                     {chain, func(b []byte) error { _, err := decodeChain(b); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, c.decode(c.good))
			for n := range c.good {
				if c.decode(c.good[:n]) == nil {
					t.Errorf("the first %d of %d bytes were accepted", n, len(c.good))
				}
			}
			if err := c.decode(append(c.good[:len(c.good):len(c.good)], 0)); !errors.Is(err, ErrDamaged) {
				t.Errorf("with a byte more: %v", err)
			}
			newer := append([]byte{recordVersion + 1}, c.good[1:]...)
			if err := c.decode(newer); !errors.Is(err, ErrNewer) {
				t.Errorf("of a newer version: %v", err)
			}
		})
	}
}
