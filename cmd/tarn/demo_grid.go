package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

// demoPatience is how long the nodes may take to find each other, and how
// often that is looked at.
const (
	demoPatience = 60 * time.Second
	demoLook     = 50 * time.Millisecond
)

// create makes a node with a command of this program.
func (d *demo) create(ctx context.Context, name, command string, args ...string) (*process, error) {
	f := folder{filepath.Join(d.dir, name)}
	var said bytes.Buffer
	c := exec.CommandContext(ctx, d.program, append(append([]string{command}, args...), f.dir)...)
	c.Stderr = &said
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("make %s: %w: %s", name, err, bytes.TrimSpace(said.Bytes()))
	}
	p := &process{name: name, folder: f, control: control.NewClient(f.socket())}
	d.nodes = append(d.nodes, p)
	return p, nil
}

func (d *demo) start(ctx context.Context, name, command string, args ...string) (*process, error) {
	p, err := d.create(ctx, name, command, args...)
	if err != nil {
		return nil, err
	}
	return p, p.start(ctx, d.program)
}

// end stops every node that still runs, the last one first.
func (d *demo) end() error {
	var all error
	for i := len(d.nodes) - 1; i >= 0; i-- {
		all = errors.Join(all, d.nodes[i].stop())
	}
	return all
}

// addAccount does what a server's operator does with a key that the client's
// owner has told.
func addAccount(ctx context.Context, client folder, server *process) error {
	status, err := server.control.Status(ctx)
	if err != nil {
		return err
	}
	if status.Storage == nil {
		return errors.New("it is no storage server")
	}
	id, err := grid.ParseServerID(status.Storage.Server)
	if err != nil {
		return err
	}
	account, err := readSecret(client, accountFile, lease.ParseAccount)
	if err != nil {
		return err
	}
	quota := demoQuota
	_, err = server.control.Operator().AddAccount(ctx, control.NewAccount{
		Petname: demoPetname, Key: account.PublicKey(id).String(), Quota: &quota,
	})
	return err
}

// waitForLogins waits until the client may store on that many servers.
func waitForLogins(ctx context.Context, client *process, servers int) error {
	deadline := time.NewTimer(demoPatience)
	defer deadline.Stop()
	look := time.NewTicker(demoLook)
	defer look.Stop()
	for {
		status, err := client.control.Status(ctx)
		if err != nil {
			return fmt.Errorf("ask the client: %w", err)
		}
		if n := loggedIn(status); n == servers {
			return nil
		}
		select {
		case <-look.C:
		case <-client.ended:
			return fmt.Errorf("%w: %s", errDemoEnded, client.name)
		case <-deadline.C:
			var table bytes.Buffer
			_ = writeStatus(&table, status) // a buffer takes everything
			return fmt.Errorf("the client is logged in on %d of %d servers after %v:\n%s", loggedIn(status), servers, demoPatience, table.String())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func loggedIn(status control.Status) (n int) {
	for _, s := range status.Servers {
		if s.LoggedIn {
			n++
		}
	}
	return n
}

// usageOf asks every server what its accounts hold.
func usageOf(ctx context.Context, servers []*process) ([]control.AccountUsage, error) {
	var all []control.AccountUsage
	for _, s := range servers {
		list, err := s.control.Operator().Usage(ctx)
		if err != nil {
			return nil, fmt.Errorf("ask %s for usage: %w", s.name, err)
		}
		for _, u := range list {
			u.Nickname = s.name
			all = append(all, u)
		}
	}
	return all, nil
}
