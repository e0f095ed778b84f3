package scale

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/lease"
)

// meshVariable makes this program part of a mesh; it is a meshPart.
const meshVariable = "TARN_MESH"

var meshNodes = flag.Int("nodes", 100, "of a mesh")

// inProcess is how many nodes of a mesh are one process. Each connection between two
// nodes of one takes two of its open files.
const inProcess = 25

// meshPart is what a process does for a mesh.
type meshPart struct {
	Folder, Introducer string
	Nodes, All         int // of this process, of the mesh
}

// BenchmarkMesh reports how long it takes until a hundred nodes, each of them client
// and server, are logged in at each other and themselves, from the start of the
// first; they are a few processes. With -args -nodes N it is another number of them.
func BenchmarkMesh(b *testing.B) {
	many := *meshNodes
	if testing.Short() {
		many = 5
	}
	for b.Loop() {
		mesh(b, many)
	}
}

func mesh(b *testing.B, many int) {
	in, err := tarn.Open(b.Context(), tarn.Config{Dir: b.TempDir(), Introducer: &tarn.IntroducerConfig{Key: keyOf(0), Listen: loopback}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeNode(b, in) })
	status, err := in.Status(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	before, begin := spent(b), time.Now()
	var parts []*bufio.Scanner
	for left := many; left > 0; left -= inProcess {
		part, err := json.Marshal(meshPart{b.TempDir(), status.Introducer.String(), min(left, inProcess), many})
		if err != nil {
			b.Fatal(err)
		}
		parts = append(parts, startSelf(b, fmt.Sprint(meshVariable, "=", string(part))))
	}
	cpu := spent(b).less(before).cpu.Seconds()
	for _, p := range parts {
		if !p.Scan() {
			b.Fatal("a part of the mesh has failed")
		}
		seconds, err := strconv.ParseFloat(p.Text(), 64)
		if err != nil {
			b.Fatal(err)
		}
		cpu += seconds
	}
	b.ReportMetric(time.Since(begin).Seconds(), "s")
	b.ReportMetric(cpu, "CPU-s")
}

// beMesh is nodes of a mesh, until standard input ends. It prints how many seconds
// of a processor it took until they were logged in at all.
func beMesh(what string) error {
	var part meshPart
	if err := json.Unmarshal([]byte(what), &part); err != nil {
		return err
	}
	nodes, errs := make([]*tarn.Node, part.Nodes), make([]error, part.Nodes)
	each := func(do func(i int) error) error {
		var all sync.WaitGroup
		for i := range nodes {
			all.Go(func() { errs[i] = do(i) })
		}
		all.Wait()
		return errors.Join(errs...)
	}
	err := each(func(i int) (err error) { nodes[i], err = part.open(i); return err })
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if err := awaitIn(context.Background(), n, func(logins int) bool { return logins >= part.All }); err != nil {
			return err
		}
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, time.Duration(u.Utime.Nano()+u.Stime.Nano()).Seconds())
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, each(func(i int) error { return nodes[i].Close(context.Background()) }))
}

// open starts one that is client and server.
func (p meshPart) open(i int) (*tarn.Node, error) {
	introducer, err := tarn.ParseIntroducerRef(p.Introducer)
	if err != nil {
		return nil, err
	}
	account, err := lease.NewAccount(mathrand.NewChaCha8([32]byte{})) // of all: a server knows its own client's
	if err != nil {
		return nil, err
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(p.Folder, strconv.Itoa(i))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return tarn.Open(context.Background(), tarn.Config{
		Dir: dir, Nickname: strconv.Itoa(i), Introducers: []tarn.IntroducerRef{introducer},
		Storage: &tarn.StorageConfig{Key: key, Listen: loopback},
		Client:  &tarn.ClientConfig{Params: file.DefaultParams(), Account: account, Convergence: bytes.Repeat([]byte("c"), 16)},
	})
}
