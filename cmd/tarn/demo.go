package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
)

// The demo's grid: any 3 of 5 shares give the file back.
const (
	demoServers = 5
	demoNeeded  = 3
	demoHappy   = 4
	demoStopped = 2
	demoQuota   = int64(5e9)
	demoPetname = "demo"
)

type demoOptions struct {
	file string // empty: the running program
	keep bool
}

func newDemo(e *env) *cobra.Command {
	var o demoOptions
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show a whole grid at work on this machine",
		Long: `Starts an introducer, five storage servers and a client as processes of their
own, in a fresh folder and reachable from this machine only; gives the client an
account on each server; stores a file; stops two servers; reads the file back,
compares it, and shows who stores how much. Everything it started is ended
again. It exits with 0 only if all of that worked.`,
		Example: "  tarn demo\n  tarn demo --file letter.txt --keep",
		Args:    between(0, 0),
		RunE:    action(func(ctx context.Context, _ []string) error { return runDemo(ctx, e, o) }),
	}
	c.Flags().StringVar(&o.file, "file", "", "file to store (default this program itself)")
	c.Flags().BoolVar(&o.keep, "keep", false, "leave the folder of the demo behind")
	return c
}

func runDemo(ctx context.Context, e *env, o demoOptions) (err error) {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if o.file == "" {
		o.file = program
	}
	dir, err := os.MkdirTemp("", "tarn-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	d := &demo{e: e, program: program, dir: dir, started: time.Now()}
	defer func() {
		err = errors.Join(err, d.end())
		if o.keep {
			err = errors.Join(err, e.print("The grid's folders are in %s\n", dir))
			return
		}
		if rm := os.RemoveAll(dir); rm != nil {
			err = errors.Join(err, fmt.Errorf("remove the demo's folder: %w", rm))
		}
	}()
	return d.run(ctx, o.file)
}

// demo is one run of it.
type demo struct {
	e            *env
	program, dir string
	started      time.Time
	nodes        []*process
}

func (d *demo) say(format string, args ...any) {
	_, _ = fmt.Fprintf(d.e.stdout, "%5.1fs  "+format+"\n", append([]any{time.Since(d.started).Seconds()}, args...)...)
}

func (d *demo) run(ctx context.Context, name string) error {
	input, size, err := d.e.open(name)
	if err != nil {
		return err
	}
	defer input.Close()
	servers, client, err := d.grid(ctx)
	if err != nil {
		return err
	}
	sum, result, err := d.store(ctx, client, input, size)
	if err != nil {
		return fmt.Errorf("store %s: %w", name, err)
	}
	d.sayStored(filepath.Base(name), result)
	usages, err := usageOf(ctx, servers)
	if err != nil {
		return err
	}
	for _, s := range servers[:demoStopped] {
		if err := s.stop(); err != nil {
			return err
		}
		d.say("stopped server %s", s.name)
	}
	if err := d.readBack(ctx, client, result, sum); err != nil {
		return fmt.Errorf("read the file back: %w", err)
	}
	if err := d.e.print("\nCapability: %s\n\n", result.Cap); err != nil {
		return err
	}
	return d.table(usages)
}

// grid starts all processes and waits until the client can store.
func (d *demo) grid(ctx context.Context) (servers []*process, client *process, err error) {
	introducer, err := d.start(ctx, "introducer", "create-introducer", "--listen", "/ip4/127.0.0.1/tcp/0")
	if err != nil {
		return nil, nil, err
	}
	reference, err := os.ReadFile(introducer.folder.reference())
	if err != nil {
		return nil, nil, fmt.Errorf("read the introducer's reference: %w", err)
	}
	join := "--introducer=" + string(reference[:len(reference)-1])
	d.say("introducer runs")
	for i := range demoServers {
		s, err := d.start(ctx, fmt.Sprintf("server%d", i+1), "create-node", "--no-client", join,
			"--listen", "/ip4/127.0.0.1/tcp/0", "--nickname", fmt.Sprintf("server%d", i+1), "--reserved-space", "0")
		if err != nil {
			return nil, nil, err
		}
		servers = append(servers, s)
	}
	d.say("%d storage servers run", len(servers))
	client, err = d.startClient(ctx, join, servers)
	return servers, client, err
}

// startClient gives the client its accounts before it starts, so that it finds
// them when it first logs in.
func (d *demo) startClient(ctx context.Context, join string, servers []*process) (*process, error) {
	client, err := d.create(ctx, "client", "create-client", join, "--web-port", "none", "--nickname", "client",
		"--shares-needed", fmt.Sprint(demoNeeded), "--shares-happy", fmt.Sprint(demoHappy), "--shares-total", fmt.Sprint(demoServers))
	if err != nil {
		return nil, err
	}
	for _, s := range servers {
		if err := addAccount(ctx, client.folder, s); err != nil {
			return nil, fmt.Errorf("give the client an account on %s: %w", s.name, err)
		}
	}
	d.say("the client has an account with a quota of %s on each server", formatSize(demoQuota))
	if err := client.start(ctx, d.program); err != nil {
		return nil, err
	}
	if err := waitForLogins(ctx, client, len(servers)); err != nil {
		return nil, err
	}
	d.say("the client is logged in on %d servers, under a different key on each", len(servers))
	return client, nil
}

// store returns the SHA-256 of what was stored.
func (d *demo) store(ctx context.Context, client *process, input io.Reader, size int64) (sum [sha256.Size]byte, result control.PutResult, err error) {
	hash := sha256.New()
	progress := d.e.progress("storing", size)
	result, err = client.control.Put(ctx, io.TeeReader(input, hash), tarn.PutOptions{Size: size, Progress: progress.at})
	progress.end()
	if err != nil {
		return sum, result, err
	}
	hash.Sum(sum[:0])
	return sum, result, nil
}

func (d *demo) sayStored(name string, r control.PutResult) {
	if r.Pushed+r.Found == 0 {
		d.say("%s (%s) is so small that its capability holds it, and no server does", name, formatSize(r.Size))
		return
	}
	d.say("stored %s (%s) as %d shares, any %d of which give it back", name, formatSize(r.Size), r.Pushed+r.Found, demoNeeded)
}

func (d *demo) readBack(ctx context.Context, client *process, result control.PutResult, sum [sha256.Size]byte) error {
	get, err := client.control.Get(ctx, result.Cap, 0, -1)
	if err != nil {
		return err
	}
	defer get.Close()
	hash := sha256.New()
	progress := d.e.progress("reading", get.Size)
	defer progress.end()
	if err := copyGet(get, hash, "the checksum", progress); err != nil {
		return err
	}
	if [sha256.Size]byte(hash.Sum(nil)) != sum {
		return errDiffers
	}
	d.say("read it back from the remaining %d servers: the same, SHA-256 %x", demoServers-demoStopped, sum[:8])
	return nil
}

func (d *demo) table(usages []control.AccountUsage) error {
	t := newTable(d.e.stdout)
	t.row("SERVER", "ACCOUNT", "KEY", "STORED", "SHARES", "QUOTA")
	for _, u := range usages {
		t.row(u.Nickname, u.Petname, keyShort(u.Key), formatSize(u.Bytes), fmt.Sprint(u.Shares), formatQuota(u.Quota))
	}
	return t.end()
}
