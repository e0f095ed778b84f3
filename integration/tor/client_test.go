//go:build integration

package tor_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/integration/nodes"
	"github.com/tarn-grid/tarn/lease"
)

// asClient in the environment makes this program a client: it reads a task,
// prints an outcome, and goes on as a node until standard input ends.
const asClient = "TARN_TOR_CLIENT"

func TestMain(m *testing.M) {
	if os.Getenv(asClient) == "" {
		nodes.Main(m)
	}
	if err := runClient(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// task is what a client is to do.
type task struct {
	Dir, Introducer, Account, SOCKS string
	Connections                     tarn.Connections
	Anonymous                       bool
	// Servers is how many to log in to; Params say what to store, of Size bytes,
	// and to read again; 0 is nothing.
	Servers int
	Params  file.Params
	Size    int
}

// outcome is what came of it.
type outcome struct {
	Addresses []string // at which servers were reached
	Same      bool     // the file came back
	Put, Get  time.Duration
}

// patience is for a client to find all servers. Tor asks again for an onion
// service that it did not find only after some time.
const patience = 3 * time.Minute

func runClient(in io.Reader, out io.Writer) error {
	var k task
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&k); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ref, err := tarn.ParseIntroducerRef(k.Introducer)
	if err != nil {
		return err
	}
	account, err := lease.ParseAccount(k.Account)
	if err != nil {
		return err
	}
	n, err := tarn.Open(ctx, tarn.Config{
		Dir: k.Dir, Introducers: []tarn.IntroducerRef{ref}, Connections: k.Connections, Anonymous: k.Anonymous,
		Tor:    tarn.TorConfig{SOCKS: k.SOCKS},
		Client: &tarn.ClientConfig{Params: k.Params, Account: account},
		Log:    slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		return err
	}
	o, err := k.do(ctx, n)
	if err == nil {
		err = json.NewEncoder(out).Encode(o)
	}
	if err == nil {
		_, _ = io.Copy(io.Discard, in)
	}
	return errors.Join(err, n.Close(context.Background()))
}

func (k task) do(ctx context.Context, n *tarn.Node) (outcome, error) {
	var o outcome
	for len(o.Addresses) < k.Servers {
		status, err := n.Status(ctx)
		if err != nil {
			return o, err
		}
		o.Addresses = nil
		for _, s := range status.Servers {
			if s.State == "logged-in" {
				o.Addresses = append(o.Addresses, s.Address)
			}
		}
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("logged in to %d servers of %d: %+v", len(o.Addresses), k.Servers, status.Servers)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if k.Size == 0 {
		return o, nil
	}
	data := make([]byte, k.Size)
	_, _ = rand.Read(data)
	begun := time.Now()
	put, err := n.Put(ctx, bytes.NewReader(data), tarn.PutOptions{Size: int64(len(data)), RandomKey: true})
	if err != nil {
		return o, err
	}
	o.Put = time.Since(begun)
	begun = time.Now()
	f, err := n.Open(ctx, put.Cap)
	if err != nil {
		return o, err
	}
	defer f.Close()
	var got bytes.Buffer
	if err := f.WriteRange(&got, 0, f.Size()); err != nil {
		return o, err
	}
	o.Get = time.Since(begun)
	o.Same = bytes.Equal(got.Bytes(), data)
	return o, nil
}

// client is a client's process in the namespace.
type client struct {
	outcome
	end func()
}

// client runs one until its task is done; then it stays connected until end.
func (n *namespace) client(k task) *client {
	n.t.Helper()
	k.Dir = n.t.TempDir()
	program, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(n.t.Context(), patience+time.Minute)
	c := exec.CommandContext(ctx, "ip", "netns", "exec", n.name, program)
	c.Env = append(os.Environ(), asClient+"=1")
	var words bytes.Buffer
	c.Stderr = &words
	in, err1 := c.StdinPipe()
	out, err2 := c.StdoutPipe()
	if err := errors.Join(err1, err2, c.Start()); err != nil {
		n.t.Fatal(err)
	}
	one := &client{end: func() { in.Close(); _ = c.Wait(); cancel() }}
	n.t.Cleanup(one.end)
	if err := json.NewEncoder(in).Encode(k); err != nil {
		n.t.Fatal(err)
	}
	if err := json.NewDecoder(out).Decode(&one.outcome); err != nil {
		one.end()
		said := words.Bytes()
		n.t.Fatalf("the client gave up: %s", said[max(0, len(said)-6000):])
	}
	return one
}
