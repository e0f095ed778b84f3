package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tarn-grid/tarn/lease"
)

// filled has two roots, a delegate, small and large shares, some with two
// leases, one that is going, traffic, and a revoked key.
func filled(t *testing.T, s *Store) *server {
	t.Helper()
	f := serve(t, s)
	f.addRoot(1, 1<<30)
	f.addRoot(3, 1<<30)
	for i := range uint32(6) {
		size := 10 + int(i)
		if i%2 == 1 {
			size += SmallShare
		}
		g := own(1)
		if i%3 == 1 {
			g = under(1, 2, 9)
			g.Certificates = []byte("certificates")
		}
		f.put(g, testShare(i), content(size))
	}
	for i := range uint32(3) {
		change, _, err := f.ledger.AddLease(start, own(3), testShare(i), nil, lease.NoLimit)
		f.apply(change, err)
	}
	change, _, err := f.ledger.Drop([]lease.LeaseID{{Column: own(1).Column(), Share: testShare(5)}})
	f.apply(change, err)
	f.ledger.CountTraffic(start, own(1), lease.Traffic{In: 5})
	f.ledger.CountTraffic(start, under(1, 2, 9), lease.Traffic{Out: 6})
	f.apply(f.ledger.FlushTraffic())
	f.apply(f.ledger.SetRevoked(true, testKey(8)))
	return f
}

func (s *server) check(repair bool) []string {
	s.t.Helper()
	_, found, err := s.Check(repair)
	must(s.t, err)
	var all []string
	for _, p := range found {
		all = append(all, p.What)
	}
	return all
}

func (s *server) edit(b batch) {
	s.t.Helper()
	must(s.t, write(s.eng, b))
	s.hot, s.ids = newHotCache(), newIDCache()
}

// TestCheckFindsAndMends plants one damage at a time.
func TestCheckFindsAndMends(t *testing.T) {
	small, large := testShare(0), testShare(3)
	for name, c := range map[string]struct {
		damage func(s *server)
		find   string // part of a problem
		lost   []lease.ShareID
	}{
		"nothing": {func(*server) {}, "", nil},
		"file gone": {func(s *server) { must(s.t, s.fs.Remove(s.sharePath(large))) },
			"its file is missing", []lease.ShareID{large}},
		"file cut": {func(s *server) {
			f, err := s.fs.Create(s.sharePath(large), shareFile)
			must(s.t, err)
			_, err = f.Write([]byte("cut"))
			must(s.t, err)
			must(s.t, f.Close())
		}, "its file has 3 bytes", []lease.ShareID{large}},
		"body gone": {func(s *server) { s.edit(batch{{key: withShare(tagBody, small), delete: true}}) },
			"its bytes are missing", []lease.ShareID{small}},
		"counter": {func(s *server) {
			key, _, err := s.counterKey(lease.RootCounterKey(testKey(1)), s.columnID)
			must(s.t, err)
			s.edit(batch{{key: key, value: encodeCounter(lease.Counter{Bytes: 7, Leases: 1})}})
		}, "root pub-v0-", nil},
		"holder gone": {func(s *server) {
			column, _, err := s.columnID(own(3).Column())
			must(s.t, err)
			s.edit(batch{{key: holderKey(small, column), delete: true}})
		}, "it does not know one of its leases", nil},
		"lease gone": {func(s *server) {
			column, _, err := s.columnID(own(3).Column())
			must(s.t, err)
			s.edit(batch{{key: leaseKey(column, small), delete: true}})
		}, "a holder is noted who has no lease", nil},
		"chain gone": {func(s *server) { s.edit(batch{{key: withID(tagChain, 3), delete: true}}) },
			"nobody knows by whose grant", nil},
		"key gone": {func(s *server) {
			column, _, err := s.columnID(own(3).Column())
			must(s.t, err)
			s.edit(batch{{key: withID(tagKeyID, column), delete: true}})
		}, "its number does not lead to it", nil},
		"key gone for good": {func(s *server) {
			column, _, err := s.columnID(under(1, 2, 9).Column())
			must(s.t, err)
			s.edit(batch{{key: withID(tagKeyID, column), delete: true}, {key: withPublicKey(tagKey, testKey(2)), delete: true}})
		}, "of an unknown holder", nil},
	} {
		t.Run(name, func(t *testing.T) {
			forAll(t, func(t *testing.T, im implementation) {
				s := filled(t, im.open(t))
				c.damage(s)
				found := strings.Join(s.check(false), "\n")
				if c.find == "" && found != "" || !strings.Contains(found, c.find) {
					t.Fatalf("found %q, want %q", found, c.find)
				}
				if again := strings.Join(s.check(false), "\n"); again != found {
					t.Errorf("looking changed something: %q, then %q", found, again)
				}
				s.check(true)
				s = serve(t, im.reopen(t, s.Store))
				if left := s.check(false); len(left) > 0 {
					t.Errorf("not mended: %q", left)
				}
				s.wantConsistent()
				s.wantShares(c.lost)
			})
		})
	}
}

// wantShares: all shares of filled are there but the one that is going, and
// those that are lost.
func (s *server) wantShares(lost []lease.ShareID) {
	s.t.Helper()
	gone := map[lease.ShareID]bool{testShare(5): true}
	for _, id := range lost {
		gone[id] = true
	}
	for i := range uint32(6) {
		id := testShare(i)
		_, err := readShare(s.Store, id)
		if (err != nil) != gone[id] {
			s.t.Errorf("share %d: %v", i, err)
		}
	}
}

// TestRepairOfAnything: whatever records are missing, cut or exchanged, a
// repair leaves a table without a contradiction, and what can be read of it.
func TestRepairOfAnything(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			s := filled(t, NewMemory())
			s.edit(damage(s, rng))
			s.check(true)
			if left := s.check(false); len(left) > 0 {
				t.Errorf("not mended: %q", left)
			}
			s.wantConsistent()
			must(t, s.TrafficSince(0, func(lease.TrafficKey, lease.Traffic) error { return nil }))
			// It can be worked on.
			s.addRoot(7, 1<<30)
			s.put(own(7), testShare(99), content(100))
			s.wantConsistent()
		})
	}
}

// damage is a few random edits of records that Check looks at.
func damage(s *server, rng *rand.Rand) (b batch) {
	var keys, values [][]byte
	must(s.t, s.eng.scan(nil, nil, func(key, value []byte) error {
		switch key[0] {
		case tagMeta, tagRevoked, tagCancel:
			return nil
		}
		keys, values = append(keys, append([]byte{}, key...)), append(values, append([]byte{}, value...))
		return nil
	}))
	for range 1 + rng.IntN(4) {
		i := rng.IntN(len(keys))
		if rng.IntN(3) > 0 || len(values[i]) == 0 || keys[i][0] == tagKeyID || keys[i][0] == tagBody {
			b.delete(keys[i])
			continue
		}
		b.put(keys[i], values[i][:rng.IntN(len(values[i]))])
	}
	return b
}

// TestRepairLosesNothingIntact: records have wrong values, too, files are
// gone, cut, or too many. A repair mends all of it, a second one finds nothing,
// and a share whose record, bytes and one lease are as they were is still there,
// with a lease.
func TestRepairLosesNothingIntact(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			s := filled(t, NewMemory())
			edited := map[string]bool{}
			edits := append(damage(s, rng), wrongValues(s, rng)...)
			for _, e := range edits {
				edited[string(e.key)] = true
			}
			s.edit(edits)
			damageFiles(s, rng, edited)
			s.check(true)
			if left := s.check(false); len(left) > 0 {
				t.Errorf("not mended: %q", left)
			}
			again, err := s.AfterCrash()
			must(t, err)
			s = serve(t, again)
			if left := s.check(false); len(left) > 0 {
				t.Errorf("not mended after a restart: %q", left)
			}
			s.wantConsistent()
			for i := range uint32(5) { // the sixth is going
				s.wantIntact(i, edited)
			}
			s.addRoot(7, 1<<30)
			s.put(own(7), testShare(99), content(100))
			s.wantConsistent()
		})
	}
}

// wantIntact: share i of filled is there, unless something of it was edited.
func (s *server) wantIntact(i uint32, edited map[string]bool) {
	s.t.Helper()
	id := testShare(i)
	size := 10 + int(i)
	if i%2 == 1 {
		size += SmallShare
	}
	leased := false
	for _, key := range leaseKeys[i] {
		leased = leased || !edited[key]
	}
	if !leased || edited[string(withShare(tagShare, id))] || edited[string(withShare(tagBody, id))] || edited[s.sharePath(id)] {
		return
	}
	s.wantContent(id, content(size))
	if held, err := s.Holders(id); len(held) == 0 || err != nil {
		s.t.Errorf("share %d has no lease (%v)", i, err)
	}
}

// leaseKeys are of the leases on the shares of filled: columns 16, 17 and 18 are
// of keys 1, 3 and 2.
var leaseKeys = func() (all [5][]string) {
	for i := range uint32(5) {
		column := uint32(16)
		if i%3 == 1 {
			column = 18
		}
		all[i] = append(all[i], string(leaseKey(column, testShare(i))))
		if i < 3 {
			all[i] = append(all[i], string(leaseKey(17, testShare(i))))
		}
	}
	return all
}()

// wrongValues gives a few records another value of their kind, or one with a
// bit flipped.
func wrongValues(s *server, rng *rand.Rand) (b batch) {
	kinds := map[byte][]edit{}
	var all []edit
	must(s.t, s.eng.scan(nil, nil, func(key, value []byte) error {
		if key[0] != tagMeta && key[0] != tagBody && len(value) > 0 {
			e := edit{key: append([]byte{}, key...), value: append([]byte{}, value...)}
			all, kinds[key[0]] = append(all, e), append(kinds[key[0]], e)
		}
		return nil
	}))
	for range rng.IntN(4) {
		e := all[rng.IntN(len(all))]
		if rng.IntN(2) == 0 {
			same := kinds[e.key[0]]
			b.put(e.key, same[rng.IntN(len(same))].value)
			continue
		}
		flipped := append([]byte{}, e.value...)
		flipped[rng.IntN(len(flipped))] ^= 1 << rng.IntN(8)
		b.put(e.key, flipped)
	}
	return b
}

// damageFiles cuts, deletes or adds a few files of shares, and says which.
func damageFiles(s *server, rng *rand.Rand, edited map[string]bool) {
	for range rng.IntN(3) {
		id := testShare(uint32(rng.IntN(6)))
		path := s.sharePath(id)
		edited[path] = true
		if rng.IntN(2) == 0 {
			must(s.t, s.removeIfThere(path))
			continue
		}
		must(s.t, s.fs.MkdirAll(s.shareDirs(id)[2], 0o700))
		f, err := s.fs.Create(path, shareFile)
		must(s.t, err)
		_, err = f.Write(content(rng.IntN(50)))
		must(s.t, errors.Join(err, f.Sync(), f.Close()))
	}
}

// TestLostTable: files of shares are found again where the table is gone, until
// all of them were looked at; what is uploaded meanwhile is not disturbed.
func TestLostTable(t *testing.T) {
	fs := vfs.NewMem()
	s := serve(t, mustOpen(t, fs, "/store"))
	if adopting, err := s.Adopting(); adopting || err != nil {
		t.Errorf("a new store looks for shares (%v)", err)
	}
	s.addRoot(1, 1<<30)
	first, second := testShare(1), testShare(2)
	for _, id := range []lease.ShareID{first, second} {
		s.put(own(1), id, content(SmallShare+1))
	}
	must(t, s.Close())
	must(t, fs.RemoveAll("/store/table"))
	stray, err := fs.Create("/store/shares/aa/stray", shareFile)
	must(t, err)
	must(t, stray.Close())
	for range 2 { // it goes on after a restart
		s = serve(t, mustOpen(t, fs, "/store"))
		if adopting, err := s.Adopting(); !adopting || err != nil {
			t.Fatalf("nothing is looked for (%v)", err)
		}
		must(t, s.Close())
	}
	s = serve(t, mustOpen(t, fs, "/store"))
	s.addRoot(1, 1<<30)
	loose, strays := s.loose()
	if len(loose) != 2 || len(strays) != 1 {
		t.Fatalf("found %v, and %v", loose, strays)
	}
	s.put(own(1), second, content(SmallShare+2))
	for _, id := range loose {
		body, err := s.OpenLoose(id)
		must(t, err)
		s.apply(s.ledger.Adopt(start, id, lease.Body{Size: body.Size, UEBHash: lease.UEBHash{1}, File: s.NumberLoose()}))
		must(t, body.Close())
	}
	must(t, s.EndAdopting())
	s.wantContent(first, content(SmallShare+1))
	s.wantContent(second, content(SmallShare+2))
	s.wantUsage(lease.ColumnCounterKey(lease.Starter), lease.Counter{Bytes: SmallShare + 1 + lease.LeaseOverhead, Leases: 1})
	s.wantConsistent()
	if loose, _ := s.loose(); len(loose) != 0 {
		t.Errorf("still loose: %v", loose)
	}
	late := start.Add(lease.LeaseDuration)
	ids, _, err := s.ScanExpired(late, nil, 100)
	must(t, err)
	change, going, err := s.ledger.Expire(late, ids)
	s.apply(change, err)
	for _, g := range going {
		mustDelete(t, s.Store, g)
		s.apply(s.ledger.Gone(g))
	}
	must(t, fs.Remove("/store/shares/aa/stray"))
	s.wantNothingLeft(testKey(1))
	must(t, s.Close())
	s = serve(t, mustOpen(t, fs, "/store"))
	if adopting, err := s.Adopting(); adopting || err != nil {
		t.Errorf("it still looks for shares (%v)", err)
	}
}

func (s *server) loose() (loose []lease.ShareID, strays []string) {
	s.t.Helper()
	folders, err := s.LooseFolders()
	must(s.t, err)
	for _, f := range folders {
		l, other, err := s.LooseShares(f)
		must(s.t, err)
		loose, strays = append(loose, l...), append(strays, other...)
	}
	return loose, strays
}
