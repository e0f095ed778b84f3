package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

var testEnabler = lease.WriteEnabler{0: 'w', 31: 'e'}

// mutation is what makes shares of one file what they are to be.
func (s *server) mutation(si grid.StorageIndex, bodies map[grid.ShareNum][]byte) (m lease.Mutation) {
	s.t.Helper()
	m = lease.Mutation{StorageIndex: si, Enabler: testEnabler}
	for num := range grid.ShareNum(10) {
		content, ok := bodies[num]
		if !ok {
			continue
		}
		share, there, err := s.Share(lease.ShareID{StorageIndex: si, Num: num})
		must(s.t, err)
		if there && share.State == lease.Stable {
			m.Seen = append(m.Seen, lease.Seen{Num: num, Writes: share.Writes})
		} else {
			m.Seen = append(m.Seen, lease.Seen{Num: num})
		}
		m.Writes = append(m.Writes, lease.ShareWrite{Num: num, Body: s.mutableBody(content, share.File != 0)})
	}
	return m
}

// mutableBody is in a file where it has to be.
func (s *server) mutableBody(content []byte, file bool) lease.Body {
	b := lease.Body{Size: int64(len(content))}
	if !file && len(content) <= SmallShare {
		b.Inline = content
		return b
	}
	in, err := s.Incoming()
	must(s.t, err)
	_, err = in.WriteAt(content, 0)
	must(s.t, err)
	b.File, err = in.Seal()
	must(s.t, err)
	return b
}

// write makes one share what it is to be.
func (s *server) write(g lease.Grant, id lease.ShareID, content []byte) (lease.Change, error) {
	s.t.Helper()
	m := s.mutation(id.StorageIndex, map[grid.ShareNum][]byte{id.Num: content})
	change, _, err := s.ledger.Mutate(start, g, m, lease.NoLimit)
	return change, err
}

// A share can be written again and again, shorter and longer, in the table and
// as a file; a file stays one.
func TestMutableSharesComeBack(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		id := testShare(3)
		for i, size := range []int{10, 0, SmallShare, SmallShare + 1, 100, 200_000, 5} {
			s.apply(s.write(own(1), id, content(size)))
			s.wantContent(id, content(size))
			s.wantConsistent()
			s = serve(t, im.reopen(t, s.Store))
			s.wantContent(id, content(size))
			if share, _, err := s.Share(id); err != nil || share.Writes != uint64(i+1) || (share.File != 0) != (i >= 3) {
				t.Errorf("after write %d: %+v, %v", i+1, share, err)
			}
		}
		s.wantNoStrays()
		change, going, err := s.ledger.Drop([]lease.LeaseID{{Column: own(1).Column(), Share: id}})
		s.apply(change, err)
		s.apply(s.write(own(1), id, content(7))) // anew while it goes
		mustDelete(t, s.Store, going[0])
		s.apply(s.ledger.Gone(going[0]))
		s.wantContent(id, content(7))
		s.wantNoStrays()
	})
}

// Who opened a share before it was written goes on to read what it was.
func TestReaderOutlivesWrite(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		for i, size := range []int{100, 100_000} {
			id := testShare(uint32(i))
			s.apply(s.write(own(1), id, content(size)))
			body, err := s.OpenShare(id)
			must(t, err)
			s.apply(s.write(own(1), id, bytes.Repeat([]byte{0xee}, size)))
			got, err := io.ReadAll(io.NewSectionReader(body, 0, body.Size))
			must(t, errors.Join(err, body.Close()))
			if !bytes.Equal(got, content(size)) {
				t.Errorf("a reader of %d bytes saw the next version", size)
			}
		}
	})
}

// While a share is written, a reader sees one version or another, whole.
func TestReadersSeeWholeVersions(t *testing.T) {
	forAll(t, func(t *testing.T, im implementation) {
		s := serve(t, im.open(t))
		s.addRoot(1, 1<<30)
		id := testShare(3)
		version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1000+i*1000) }
		s.apply(s.write(own(1), id, version(0)))
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					got, err := readShare(s.Store, id)
					if err != nil || len(got) < 1000 || !bytes.Equal(got, version(int(got[0]))) {
						t.Errorf("read %d bytes that were never written (%v)", len(got), err)
						return
					}
				}
			})
		}
		for i := range 60 {
			s.apply(s.write(own(1), id, version(i)))
		}
		close(stop)
		readers.Wait()
	})
}

// versions is what became of writes of two shares, which always change
// together.
type versions struct {
	mu           sync.Mutex
	acked, asked int
}

// versionSize makes shares that are small at first, and then files.
func versionSize(i int) int { return 500 + i*i*700 }

func versionBodies(i int) map[grid.ShareNum][]byte {
	b := bytes.Repeat([]byte{byte(i)}, versionSize(i))
	return map[grid.ShareNum][]byte{1: b, 4: append(b[:len(b):len(b)], 7)}
}

// writeVersions writes until something fails.
func writeVersions(s *Store, v *versions) error {
	l := lease.NewLedger(s, policy)
	if err := applied(s)(l.PutRoots(lease.Root{Key: testKey(1)})); err != nil {
		return err
	}
	for i := 1; i <= 12; i++ {
		m := lease.Mutation{StorageIndex: grid.StorageIndex{5}, Enabler: testEnabler}
		for _, num := range []grid.ShareNum{1, 4} {
			body, err := bodyOrFail(s, versionBodies(i)[num])
			if err != nil {
				return err
			}
			m.Seen = append(m.Seen, lease.Seen{Num: num, Writes: uint64(i - 1)})
			m.Writes = append(m.Writes, lease.ShareWrite{Num: num, Body: body})
		}
		v.mu.Lock()
		v.asked = i
		v.mu.Unlock()
		change, _, err := l.Mutate(start, own(1), m, lease.NoLimit)
		if err := applied(s)(change, err); err != nil {
			return err
		}
		v.mu.Lock()
		v.acked = i
		v.mu.Unlock()
	}
	return nil
}

func bodyOrFail(s *Store, content []byte) (lease.Body, error) {
	b := lease.Body{Size: int64(len(content))}
	if len(content) <= SmallShare {
		b.Inline = content
		return b, nil
	}
	in, err := s.Incoming()
	if err != nil {
		return b, err
	}
	if _, err := in.WriteAt(content, 0); err != nil {
		return b, errors.Join(err, in.Discard())
	}
	b.File, err = in.Seal()
	return b, err
}

// versionCrasher takes a picture of what a power cut would leave at every sync,
// rename and removal, and what was acknowledged before it and asked for after.
type versionCrasher struct {
	crasher
	v                  *versions
	before, afterwards []int
}

// MaybeError implements errorfs.Injector; it never makes an error.
func (c *versionCrasher) MaybeError(op errorfs.Op) error {
	c.v.mu.Lock()
	before := c.v.acked
	c.v.mu.Unlock()
	n := len(c.clones)
	err := c.crasher.MaybeError(op)
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	if len(c.clones) > n {
		c.before, c.afterwards = append(c.before, before), append(c.afterwards, c.v.asked)
	}
	return err
}

// After a power cut both shares are of one version: the last that was
// acknowledged, or one that was asked for later.
func TestPowerCutWhileWriting(t *testing.T) {
	for seed := range uint64(3) {
		for _, percent := range []int{0, 50, 90} {
			t.Run(fmt.Sprintf("seed %d, %d%% of the unsynced survives", seed, percent), func(t *testing.T) {
				mem := vfs.NewCrashableMem()
				v := &versions{}
				c := &versionCrasher{v: v, crasher: crasher{fs: mem, rng: rand.New(rand.NewPCG(seed, 2)), percent: percent, history: newHistory()}}
				s, err := Open("/store", Options{FS: errorfs.Wrap(mem, &serialized{inner: c})})
				must(t, err)
				c.arm()
				must(t, writeVersions(s, v))
				must(t, s.Close())
				if len(c.clones) < 40 {
					t.Fatalf("%d pictures are too few to show anything", len(c.clones))
				}
				for i, clone := range c.clones {
					wantVersion(t, clone, c.before[i], c.afterwards[i])
					if t.Failed() {
						t.Fatalf("power cut %d of %d", i+1, len(c.clones))
					}
				}
			})
		}
	}
}

// serialized asks one at a time.
type serialized struct {
	mu    sync.Mutex
	inner errorfs.Injector
}

// MaybeError implements errorfs.Injector.
func (s *serialized) MaybeError(op errorfs.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner.MaybeError(op)
}

// String implements errorfs.Injector.
func (s *serialized) String() string { return s.inner.String() }

func wantVersion(t *testing.T, fs vfs.FS, acked, asked int) {
	t.Helper()
	s, err := Open("/store", Options{FS: fs})
	must(t, err)
	srv := serve(t, s)
	defer func() { must(t, s.Close()) }()
	first, err := readShare(s, lease.ShareID{StorageIndex: grid.StorageIndex{5}, Num: 1})
	if errors.Is(err, lease.ErrNoShare) && acked == 0 {
		return
	}
	must(t, err)
	i := int(first[0])
	if i < acked || i > asked {
		t.Errorf("version %d is there, %d was acknowledged, %d asked for", i, acked, asked)
	}
	for num, want := range versionBodies(i) {
		srv.wantContent(lease.ShareID{StorageIndex: grid.StorageIndex{5}, Num: num}, want)
	}
	srv.wantConsistent()
	srv.wantNoStrays()
	if _, found, err := s.Check(false); err != nil || len(found) > 0 {
		t.Errorf("check: %v, %v", found, err)
	}
}

// A write that fails leaves what was acknowledged before.
func TestEveryWriteOfAMutableShareMayFail(t *testing.T) {
	for at := 1; ; at += 1 + at/20 {
		mem := vfs.NewCrashableMem()
		v := &versions{}
		f := &failing{at: at, lasting: true}
		s, err := Open("/store", Options{FS: errorfs.Wrap(mem, f)})
		must(t, err)
		f.mu.Lock()
		f.armed = true
		f.mu.Unlock()
		_ = writeVersions(s, v)
		clone := mem.CrashClone(vfs.CrashCloneCfg{})
		f.mu.Lock()
		f.armed = false
		reached := f.n >= at
		f.mu.Unlock()
		_ = s.Close() // may well tell that the disk failed
		wantVersion(t, clone, v.acked, v.asked)
		if t.Failed() {
			t.Fatalf("write %d failed", at)
		}
		if !reached {
			return
		}
	}
}
