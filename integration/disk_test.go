//go:build integration

package integration_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/tarn-grid/tarn/integration/nodes"
)

// smallDiskGrid has three servers, the first with a disk of that size.
func smallDiskGrid(t *testing.T, o nodes.Options, size int64) *nodes.Grid {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	nodes.SmallDisk(t, disk, size)
	o.Folder = func(i int) string {
		if i == 0 {
			return filepath.Join(disk, "server0")
		}
		return ""
	}
	return nodes.Start(t, o)
}

// A server whose disk is full refuses shares, which go elsewhere while that
// makes sense, and goes on giving what it has.
func TestFullDisk(t *testing.T) {
	const size = 10 * mib
	g := smallDiskGrid(t, nodes.Options{Servers: 3, Needed: 1, Happy: 2, Total: 3}, 30*mib)
	first := put(t, g, 30, size)
	var capabilities []string
	for seed := uint64(31); seed < 35; seed++ {
		capabilities = append(capabilities, put(t, g, seed, size))
	}
	small := g.Servers[0]
	if files := small.ShareFiles(); len(files) == 0 || len(files) > 2 {
		t.Errorf("%d shares of 10 MiB on a disk of 30 MiB (want 1 or 2)", len(files))
	}
	small.CheckClean()
	// Only the full server has the first file now.
	g.Servers[1].Stop()
	g.Servers[2].Stop()
	wantFile(t, g, first, 30, size)
	r := nodes.Run(t, nodes.Random(40, size), "-d", g.Client.Dir, "put", "-")
	r.WantFailure(t, 5, "2 needed to be happy")
	small.CheckClean()
	g.Servers[1].Start()
	g.Client.WaitLogins(2)
	for i, c := range capabilities {
		wantFile(t, g, c, 31+uint64(i), size)
	}
}

// A disk that fills up while a share arrives costs that share and nothing
// else, although the server had promised to take it.
func TestDiskFillsUp(t *testing.T) {
	const size = 10 * mib
	proxy := nodes.NewProxy(t)
	g := smallDiskGrid(t, nodes.Options{Servers: 3, Needed: 1, Happy: 2, Total: 3, ServerArgs: func(i int) []string {
		if i == 0 {
			return proxy.ServerArgs()
		}
		return nil
	}}, 30*mib)
	small := g.Servers[0]
	first := put(t, g, 50, size)
	small.CheckClean()

	proxy.HoldSent(size / 2)
	command := nodes.Begin(t, nodes.Random(51, size), nil, "-d", g.Client.Dir, "put", "-")
	nodes.Until(t, "the upload is held", nodes.Patience, proxy.Held)
	filler := filepath.Join(filepath.Dir(small.Dir), "filler")
	fill(t, filler)
	proxy.Release()
	r := command.Wait()
	if checkPut(t, g, r, 51, size) {
		t.Logf("the file was stored on the other servers")
	}
	if !small.Running() {
		t.Fatalf("the server ended: %s", small.LastWords())
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	small.CheckClean()
	small.Stop()
	small.Start()
	small.CheckClean()
	g.Servers[1].Stop()
	g.Servers[2].Stop()
	g.Client.WaitLogins(1)
	wantFile(t, g, first, 50, size)
}

// What a full disk has can be read, renewed and given up, and its operator can
// work; what is given up makes room.
func TestFullDiskStillServes(t *testing.T) {
	const size = 5 * mib
	g := smallDiskGrid(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1}, 40*mib)
	small := g.Servers[0]
	kept, given := put(t, g, 70, size), put(t, g, 71, size)
	filler := filepath.Join(filepath.Dir(small.Dir), "filler")
	fill(t, filler)
	// The table's log is in the way, too, once so much was written.
	nodes.Until(t, "the table takes its ballast", nodes.Patience, func() bool {
		changeAccounts(t, small, g.Client.Name)
		_, err := os.Stat(small.Path("storage", "ballast"))
		return errors.Is(err, fs.ErrNotExist)
	})
	nodes.Tarn(t, "-d", g.Client.Dir, "keep", kept)
	nodes.Run(t, nodes.Random(72, size), "-d", g.Client.Dir, "put", "-").WantFailure(t, 5)
	nodes.Run(t, nodes.Random(73, 10*kib), "-d", g.Client.Dir, "put", "-").WantFailure(t, 5)
	wantFile(t, g, kept, 70, size)
	nodes.Tarn(t, "-d", g.Client.Dir, "cancel", given)
	nodes.Until(t, "the share is gone", nodes.Patience, func() bool { return len(small.ShareFiles()) == 1 })
	if !small.Running() {
		t.Fatalf("the server ended: %s", small.LastWords())
	}
	small.CheckClean()
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	nodes.Until(t, "there is room again", nodes.Patience, func() bool {
		return nodes.Run(t, nodes.Random(74, size), "-d", g.Client.Dir, "put", "-").Code == 0
	})
	small.Stop()
	nodes.Tarn(t, "-d", small.Dir, "server", "fsck")
	small.Start()
	g.Client.WaitLogins(1)
	wantFile(t, g, kept, 70, size)
}

// A server that is started when its disk has not a byte left gives what it has,
// and takes back what is given up, which makes room.
func TestStartOnAFullDisk(t *testing.T) {
	const size = 5 * mib
	g := smallDiskGrid(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1}, 40*mib)
	small := g.Servers[0]
	kept, given := put(t, g, 80, size), put(t, g, 81, size)
	tiny := put(t, g, 82, 10*kib)
	small.Stop()
	filler := filepath.Join(filepath.Dir(small.Dir), "filler")
	fill(t, filler)
	small.Start()
	g.Client.WaitLogins(1)
	wantFile(t, g, kept, 80, size)
	wantFile(t, g, tiny, 82, 10*kib)
	nodes.Run(t, nodes.Random(83, 10*kib), "-d", g.Client.Dir, "put", "-").WantFailure(t, 5)
	nodes.Tarn(t, "-d", g.Client.Dir, "cancel", given)
	nodes.Until(t, "the share is gone", nodes.Patience, func() bool { return len(small.ShareFiles()) == 1 })
	nodes.Tarn(t, "-d", g.Client.Dir, "keep", kept)
	small.Stop()
	nodes.Tarn(t, "-d", small.Dir, "server", "fsck")
	// What was given up, and the ballast, is taken by others: that is said.
	fill(t, filler+"2")
	if err := os.Remove(small.Path("storage", "ballast")); err == nil {
		fill(t, filler+"3")
	}
	nodes.Run(t, nil, "-d", small.Dir, "run").WantFailure(t, 6, "no space left on device")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	small.Start()
	g.Client.WaitLogins(1)
	wantFile(t, g, kept, 80, size)
}

// changeAccounts writes some thousand records.
func changeAccounts(t *testing.T, server *nodes.Node, name string) {
	t.Helper()
	var group sync.WaitGroup
	for i := range int64(8) {
		group.Go(func() {
			for n := range int64(500) {
				if _, err := server.Control.Operator().SetQuota(t.Context(), name, new(gib+i*n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// The reserved space is there when everything else is used up, by files and by
// the table.
func TestReservedSpace(t *testing.T) {
	const reserved = 16 * mib
	g := smallDiskGrid(t, nodes.Options{Servers: 1, Needed: 1, Happy: 1, Total: 1, ServerArgs: func(int) []string {
		return []string{"--listen", "/ip4/127.0.0.1/tcp/0", "--reserved-space", "16MiB"}
	}}, 64*mib)
	small := g.Servers[0]
	for _, size := range []int64{4 * mib, 300 * kib, 20 * kib} {
		stored := 0
		for seed := uint64(size); ; seed++ {
			r := nodes.Run(t, nodes.Random(seed, size), "-d", g.Client.Dir, "put", "-")
			if r.Code != 0 {
				r.WantFailure(t, 5)
				break
			}
			if stored++; int64(stored)*size > 64*mib {
				t.Fatalf("%d files of %d bytes on a disk of 64 MiB", stored, size)
			}
		}
		var disk syscall.Statfs_t
		if err := syscall.Statfs(small.Dir, &disk); err != nil {
			t.Fatal(err)
		}
		if free := int64(disk.Bavail) * disk.Bsize; free < reserved {
			t.Errorf("%d bytes are free after %d files of %d bytes (want %d)", free, stored, size, reserved)
		}
	}
}

// fill takes all that a disk has left.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for n := len(block); n > 0; {
		if _, err := f.Write(block[:n]); err != nil {
			n /= 2
		}
	}
}

// A quota that is reached is said, with nothing stored beyond it.
func TestQuota(t *testing.T) {
	g := nodes.Start(t, nodes.Options{Servers: 2, Needed: 1, Happy: 2, Total: 2, Quota: "3MB"})
	first := put(t, g, 60, 2*mib)
	for _, seed := range []uint64{61, 62} {
		r := nodes.Run(t, nodes.Random(seed, 2*mib), "-d", g.Client.Dir, "put", "-")
		r.WantFailure(t, 5, "quota")
	}
	for _, s := range g.Servers {
		s.CheckClean()
		if _, shares, _ := s.Usage(); shares != 1 {
			t.Errorf("%s has %d shares (want 1)", s.Name, shares)
		}
	}
	second := put(t, g, 63, 500*kib)
	wantFile(t, g, first, 60, 2*mib)
	wantFile(t, g, second, 63, 500*kib)
}
