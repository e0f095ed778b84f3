package tarn_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// A whole grid in one process: an introducer, three storage servers, and a client
// whose account they accept. In a real one each of these nodes is somewhere else.
func ExampleOpen() {
	if err := wholeGrid(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// stored on 3 servers
	// Hello, grid!
}

func wholeGrid(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "tarn-example-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	account, err := lease.NewAccount(rand.Reader)
	if err != nil {
		return err
	}
	client, end, err := startGrid(ctx, dir, account)
	if err != nil {
		return err
	}
	defer end()

	text := "Hello, grid!\n" + strings.Repeat("Files as short as the first line lie in their capability. ", 20)
	result, err := client.Put(ctx, strings.NewReader(text), tarn.PutOptions{Size: int64(len(text))})
	if err != nil {
		return err
	}
	fmt.Println("stored on", result.Happiness, "servers")

	f, err := client.Open(ctx, result.Cap)
	if err != nil {
		return err
	}
	r := tarn.NewReader(f)
	defer r.Close()
	_, err = io.Copy(os.Stdout, io.LimitReader(r, 13))
	return err
}

// startGrid returns a client that can store, and what ends all nodes.
func startGrid(ctx context.Context, dir string, account lease.Account) (client *tarn.Node, end func(), err error) {
	var nodes []*tarn.Node
	end = func() {
		for _, n := range nodes {
			if err := n.Close(context.WithoutCancel(ctx)); err != nil {
				log.Print(err)
			}
		}
	}
	open := func(name string, c tarn.Config) (*tarn.Node, error) {
		c.Dir = filepath.Join(dir, name) // a folder for each
		if err := os.Mkdir(c.Dir, 0o700); err != nil {
			return nil, err
		}
		n, err := tarn.Open(ctx, c)
		if err == nil {
			nodes = append([]*tarn.Node{n}, nodes...)
		}
		return n, err
	}
	client, err = startNodes(ctx, open, account)
	if err != nil {
		end()
	}
	return client, end, err
}

// opener opens a node by a name.
type opener func(name string, c tarn.Config) (*tarn.Node, error)

func startNodes(ctx context.Context, open opener, account lease.Account) (*tarn.Node, error) {
	key, err := ed25519Key()
	if err != nil {
		return nil, err
	}
	introducer, err := open("introducer", tarn.Config{
		Introducer: &tarn.IntroducerConfig{Key: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
	})
	if err != nil {
		return nil, err
	}
	status, err := introducer.Status(ctx)
	if err != nil {
		return nil, err
	}
	introducers := []tarn.IntroducerRef{*status.Introducer}

	for i := range 3 {
		if err := startServer(ctx, open, fmt.Sprintf("server-%d", i+1), introducers, account); err != nil {
			return nil, err
		}
	}
	client, err := open("client", tarn.Config{
		Introducers: introducers,
		Client: &tarn.ClientConfig{
			Params:  file.Params{Needed: 2, Happy: 3, Total: 3, SegmentSize: 128 << 10},
			Account: account,
		},
	})
	if err != nil {
		return nil, err
	}
	for { // until the client has found all servers
		usage, _, err := client.OwnUsage(ctx)
		if err != nil || len(usage) == 3 {
			return client, err
		}
	}
}

// startServer starts a storage server whose operator gives the account a quota.
func startServer(ctx context.Context, open opener, name string, introducers []tarn.IntroducerRef, account lease.Account) error {
	key, err := ed25519Key()
	if err != nil {
		return err
	}
	server, err := open(name, tarn.Config{
		Nickname: name, Introducers: introducers,
		Storage: &tarn.StorageConfig{Key: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}},
	})
	if err != nil {
		return err
	}
	operator, err := server.Operator()
	if err != nil {
		return err
	}
	public := account.PublicKey(grid.ServerID(grid.PublicKeyOf(key))) // another one at each server
	quota := int64(1 << 30)
	_, _, err = operator.AddAccount(ctx, "alice", &public, &quota)
	return err
}

func ed25519Key() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}
