package tarn_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// exampleClient is a client of a small grid in this process (see Open's example),
// which all examples share and TestMain ends.
func exampleClient() *tarn.Node { return exampleGrid().client }

// exampleAuthority is what the client's account may do.
func exampleAuthority() lease.Authority {
	return lease.Authority{Holdings: []lease.Holding{{Account: exampleGrid().account}}}
}

type runningGrid struct {
	client  *tarn.Node
	account lease.Account
}

var (
	exampleGrid = sync.OnceValue(startExampleGrid)
	endExamples = func() {}
)

func startExampleGrid() runningGrid {
	dir, err := os.MkdirTemp("", "tarn-examples-")
	if err != nil {
		log.Fatal(err)
	}
	account, err := lease.NewAccount(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	client, end, err := startGrid(context.Background(), dir, account)
	if err != nil {
		log.Fatal(err)
	}
	endExamples = func() { end(); _ = os.RemoveAll(dir) }
	return runningGrid{client, account}
}

func TestMain(m *testing.M) {
	code := m.Run()
	endExamples()
	os.Exit(code)
}

func ExampleNode_Put() {
	ctx, node := context.Background(), exampleClient()

	letter := strings.Repeat("Dear Bob, all is well here. ", 100)
	result, err := node.Put(ctx, strings.NewReader(letter), tarn.PutOptions{Size: int64(len(letter))})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Size, "bytes on", result.Happiness, "servers;", result.Cap[:8]+"...")

	f, err := node.Open(ctx, result.Cap)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	if err := f.WriteRange(os.Stdout, 5, 20); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 2800 bytes on 3 servers; URI:CHK:...
	// Bob, all is well her
}

func ExampleNewReader() {
	ctx, node := context.Background(), exampleClient()
	result, err := node.Put(ctx, strings.NewReader(strings.Repeat("0123456789", 1000)), tarn.PutOptions{Size: -1})
	if err != nil {
		log.Fatal(err)
	}

	f, err := node.Open(ctx, result.Cap)
	if err != nil {
		log.Fatal(err)
	}
	r := tarn.NewReader(f)
	defer r.Close()
	if _, err := r.Seek(-3, io.SeekEnd); err != nil {
		log.Fatal(err)
	}
	end, err := io.ReadAll(r)
	if err != nil {
		log.Fatal(err)
	}
	middle := make([]byte, 5)
	if _, err := r.ReadAt(middle, 4321); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %s\n", end, middle)
	// Output:
	// 789 12345
}

// A counter that several may raise at the same time: what is lost to another writer
// is done again.
func ExampleNode_Modify() {
	ctx, node := context.Background(), exampleClient()
	counter, err := node.CreateMutable(ctx, strings.NewReader("0"), tarn.MutableOptions{Format: tarn.SDMF})
	if err != nil {
		log.Fatal(err)
	}

	raise := func(old []byte) ([]byte, error) {
		n, err := strconv.Atoi(string(old))
		return []byte(strconv.Itoa(n + 1)), err
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if _, err := node.Modify(ctx, counter.Cap, raise); err != nil {
				log.Print(err)
			}
		})
	}
	all.Wait()

	content, version, err := node.ReadMutable(ctx, counter.ReadCap)
	fmt.Printf("%s in version %d, %v\n", content, version.Number(), err)
	// Output:
	// 3 in version 4, <nil>
}

// A write that changes what was read, and nothing newer.
func ExampleOnto() {
	ctx, node := context.Background(), exampleClient()
	note, err := node.CreateMutable(ctx, strings.NewReader("first"), tarn.MutableOptions{})
	if err != nil {
		log.Fatal(err)
	}
	_, seen, err := node.ReadMutable(ctx, note.Cap)
	if err != nil {
		log.Fatal(err)
	}

	if _, err := node.Overwrite(ctx, note.Cap, strings.NewReader("second")); err != nil {
		log.Fatal(err)
	}
	_, err = node.Overwrite(ctx, note.Cap, strings.NewReader("mine"), tarn.Onto(seen))
	fmt.Println(errors.Is(err, tarn.ErrConflict))
	// Output:
	// true
}

func ExampleNode_MakeDirectory() {
	ctx, node := context.Background(), exampleClient()
	letter, err := node.Put(ctx, strings.NewReader("Dear Bob"), tarn.PutOptions{Size: -1})
	if err != nil {
		log.Fatal(err)
	}
	letters, err := node.MakeDirectory(ctx, tarn.MutableOptions{}, tarn.Link{Name: "one.txt", Cap: letter.Cap})
	if err != nil {
		log.Fatal(err)
	}
	home, err := node.MakeDirectory(ctx, tarn.MutableOptions{})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := node.Link(ctx, home.Cap, []tarn.Link{{Name: "letters", Cap: letters.Cap, Replace: tarn.ReplaceNone}}); err != nil {
		log.Fatal(err)
	}

	// Who can only read the top can only read what is below it.
	e, err := node.Lookup(ctx, home.ReadCap, "letters")
	if err != nil {
		log.Fatal(err)
	}
	listing, err := node.List(ctx, e.Capability().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("writable:", listing.Writable)
	for _, e := range listing.Entries {
		fmt.Println(e.Name, e.Read.Kind())
	}
	// Output:
	// writable: false
	// one.txt LIT
}

// exampleTree is a directory with directories in it.
func exampleTree(ctx context.Context, node *tarn.Node) (tarn.PutResult, error) {
	put := func(text string) tarn.Link {
		name, content, _ := strings.Cut(text, ": ")
		result, err := node.Put(ctx, strings.NewReader(content), tarn.PutOptions{Size: int64(len(content))})
		if err != nil {
			log.Print(err)
		}
		return tarn.Link{Name: name, Cap: result.Cap}
	}
	letters, err := node.StoreDirectory(ctx, tarn.PutOptions{}, put("one.txt: Dear Bob"), put("two.txt: Dear Alice"))
	if err != nil {
		return letters, err
	}
	return node.StoreDirectory(ctx, tarn.PutOptions{}, tarn.Link{Name: "letters", Cap: letters.Cap}, put("readme: All letters."))
}

func ExampleNode_FS() {
	ctx, node := context.Background(), exampleClient()
	dir, err := exampleTree(ctx, node)
	if err != nil {
		log.Fatal(err)
	}

	files, err := node.FS(ctx, dir.Cap)
	if err != nil {
		log.Fatal(err)
	}
	err = fs.WalkDir(files, ".", func(path string, e fs.DirEntry, err error) error {
		fmt.Println(path)
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	letter, err := fs.ReadFile(files, "letters/two.txt")
	fmt.Printf("%s, %v\n", letter, err)
	_, err = fs.Stat(files, "letters/three.txt")
	fmt.Println(err)
	// Output:
	// .
	// letters
	// letters/one.txt
	// letters/two.txt
	// readme
	// Dear Alice, <nil>
	// stat letters/three.txt: file does not exist
}

// Walk tells capabilities, and comes to each object once.
func ExampleWalk() {
	ctx, node := context.Background(), exampleClient()
	dir, err := exampleTree(ctx, node)
	if err != nil {
		log.Fatal(err)
	}
	root, err := file.Parse(dir.Cap)
	if err != nil {
		log.Fatal(err)
	}
	err = tarn.Walk(ctx, node, tarn.FoundOf(root), tarn.Walker{Visit: func(v tarn.Visited) error {
		fmt.Printf("%q %s\n", strings.Join(v.Path, "/"), v.Capability().Kind())
		return nil
	}})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// "" DIR2-CHK
	// "readme" LIT
	// "letters" DIR2-CHK
	// "letters/one.txt" LIT
	// "letters/two.txt" LIT
}

// Alice hands on a part of what she may do: to store at most 100 kB in shares of at
// most 10 kB, for an hour, at her own cost. Who has the text can do that and
// nothing else.
func ExampleUnder() {
	ctx, node := context.Background(), exampleClient()
	servers := exampleServers(ctx, node)
	hers := exampleAuthority() // from lease.ReadAuthority, or a Wallet

	until, space, largest := time.Now().Add(time.Hour).Unix(), int64(100_000), int64(10_000)
	narrowed, err := hers.HandOver(rand.Reader, lease.Delegation{
		SignerGetsLease: true,
		Restrictions:    lease.Restrictions{Until: &until, Space: &space, MaxSize: &largest},
	}, servers)
	if err != nil {
		log.Fatal(err)
	}
	text, err := narrowed.Text() // a secret to hand over
	if err != nil {
		log.Fatal(err)
	}

	given, err := node.ReadAuthority(strings.NewReader(string(text)))
	if err != nil {
		log.Fatal(err)
	}
	var stored tarn.PutResult
	for _, size := range []int64{50_000, 10_000} {
		stored, err = node.Put(ctx, io.LimitReader(rand.Reader, size), tarn.PutOptions{Size: size, Authority: given})
		fmt.Println(size, "bytes: refused", errors.Is(err, tarn.ErrTooFewServers))
	}
	kept, err := node.Keep(ctx, stored.Cap, tarn.Under(given))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("leases renewed on", len(kept), "servers")
	// Output:
	// 50000 bytes: refused true
	// 10000 bytes: refused false
	// leases renewed on 3 servers
}

// exampleServers are those that the node knows.
func exampleServers(ctx context.Context, node *tarn.Node) []grid.ServerID {
	status, err := node.Status(ctx)
	if err != nil {
		log.Fatal(err)
	}
	var list []grid.ServerID
	for _, s := range status.Servers {
		list = append(list, s.Server)
	}
	return list
}

// The verify capability is enough to look after a file: who has it can't read it.
func ExampleNode_Repair() {
	ctx, node := context.Background(), exampleClient()
	result, err := node.Put(ctx, strings.NewReader(strings.Repeat("Keep me. ", 1000)), tarn.PutOptions{Size: -1})
	if err != nil {
		log.Fatal(err)
	}
	whole, err := file.Parse(result.Cap)
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := file.Verifier(whole)
	if err != nil {
		log.Fatal(err)
	}

	check, err := node.Check(ctx, verifier.String(), tarn.CheckOptions{Verify: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("healthy:", check.Healthy())

	repair, err := node.Repair(ctx, verifier.String(), tarn.CheckOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("repaired:", repair.Attempted, "new shares:", repair.Pushed)
	// Output:
	// healthy: true
	// repaired: false new shares: 0
}
