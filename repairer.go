package tarn

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/repairer"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
)

var (
	// ErrNoRepairer means that the node does not have that role.
	ErrNoRepairer = errors.New("this node is not a repairer")
	// ErrNoRepair means that there is no repair cap under a name, or none of that
	// file.
	ErrNoRepair = repairer.ErrUnknown
	// ErrRepairTaken means that the name is that of somebody else's caps.
	ErrRepairTaken = repairer.ErrOthers
	// ErrRepairerFull means that there are as many files as there may be.
	ErrRepairerFull = repairer.ErrFull
)

// RepairerConfig is the repairer role: it keeps the files whole of those who gave
// it a repair cap.
type RepairerConfig struct {
	// Key is the repairer's long-lived Ed25519 key, for which they sign.
	Key ed25519.PrivateKey
	// Files is how many of them there may be.
	Files int
	// Every is about how often a file is checked, Verify about how often all of its
	// shares are read.
	Every, Verify time.Duration
}

func (c RepairerConfig) account() lease.Account { return accountOf(c.Key) }

// Watched is what a repairer does for one owner of files.
type Watched struct {
	// Name is the repairer's own for him.
	Name  string
	Files []WatchedFile // by storage index
}

// WatchedFile is a file that is kept whole.
type WatchedFile struct {
	StorageIndex grid.StorageIndex
	Size         int64
	// Any Needed of Total shares give it back; it should be on Happy servers.
	Needed, Total, Happy int
	// Added is when the cap came, Until when the first of its certificates ends,
	// zero for never.
	Added, Until time.Time
	// Checked is when it was last looked at, Verified when all shares were last
	// read, Repaired when some were last made once more, Next when it is looked at
	// again.
	Checked, Verified, Repaired, Next time.Time
	// Shares and Happiness are how it was after that, Summary is that in words.
	Shares, Happiness    int
	Summary              string
	Healthy, Recoverable bool
	// Lost is how many shares were found missing or damaged since the cap came,
	// Pushed how many were made once more.
	Lost, Pushed int
	// Trouble is why it could not be checked, or is not whole; empty where it is.
	Trouble string
}

// Repairer keeps files whole for others.
type Repairer interface {
	// Key is what owners of files sign for.
	Key() grid.PublicKey
	// Add reads repair caps of one owner, and looks after their files from now on;
	// a newer cap of the same file takes the place of the older one. Errors:
	// lease.ErrRepairCap, lease.ErrNotSigner for another repairer's, ErrRenewalName
	// for a name that nobody can have, ErrRepairTaken, ErrRepairerFull.
	Add(ctx context.Context, name string, r io.Reader) (Watched, error)
	// List tells what is looked after for whom, by name.
	List(ctx context.Context) ([]Watched, error)
	// Check looks at all files under a name now, at all where that is empty, and
	// returns when that is over. Errors: ErrNoRepair.
	Check(ctx context.Context, name string) error
	// Remove forgets a file, or all under a name where it is nil. Errors:
	// ErrNoRepair.
	Remove(ctx context.Context, name string, file *grid.StorageIndex) error
}

// RepairerStatus is what an operator sees of the own repairer at once: how many
// files, of how many at most, and how many of them are not whole.
type RepairerStatus struct {
	Key                    grid.PublicKey
	Files, Most, Unhealthy int
}

func (n *Node) repairerStatus(ctx context.Context, s *Status) error {
	if n.config.Repairer == nil {
		return nil
	}
	owners, err := ask[repairer.Owners](ctx, n, actors.ToRepairer{Message: repairer.AskOwners{}})
	if err != nil {
		return err
	}
	out := &RepairerStatus{Key: grid.PublicKeyOf(n.config.Repairer.Key), Most: n.config.Repairer.Files}
	for _, o := range owners {
		for _, f := range o.Files {
			out.Files++
			if !f.State.Healthy && !f.State.Checked.IsZero() {
				out.Unhealthy++
			}
		}
	}
	s.Repairer = out
	return nil
}

// Repairer of this node. Errors: ErrNoRepairer.
func (n *Node) Repairer() (Repairer, error) {
	if n.config.Repairer == nil {
		return nil, ErrNoRepairer
	}
	return runningRepairer{n}, nil
}

func (n *Node) repairerParts(dialer transport.Dialer) *repairer.Config {
	c := n.config.Repairer
	return &repairer.Config{
		Store: n.folder.repairFiles(n.config, c.account(), dialer), Most: c.Files, Every: c.Every, Verify: c.Verify, Fatal: n.end,
	}
}

type runningRepairer struct{ n *Node }

func askRepairer[R any](ctx context.Context, n *Node, message any) (R, error) {
	return askRole[R](ctx, n, actors.ToRepairer{Message: message})
}

// Key implements Repairer.
func (r runningRepairer) Key() grid.PublicKey { return grid.PublicKeyOf(r.n.config.Repairer.Key) }

// Add implements Repairer.
func (r runningRepairer) Add(ctx context.Context, name string, from io.Reader) (Watched, error) {
	if err := checkOwnerName(name); err != nil {
		return Watched{}, err
	}
	caps, err := lease.ReadRepairCaps(from)
	if err != nil {
		return Watched{}, err
	}
	add := repairer.Add{Name: name}
	for _, c := range caps {
		f, err := watchedFile(c, r.n.config.Repairer.account())
		if err != nil {
			return Watched{}, err
		}
		if !caps[0].OfSame(c) {
			return Watched{}, fmt.Errorf("%w: they are of several owners; add those of each under a name of his own", lease.ErrRepairCap)
		}
		f.Added = time.Now()
		add.Files = append(add.Files, f)
	}
	if _, err := askRepairer[repairer.Done](ctx, r.n, add); err != nil {
		return Watched{}, err
	}
	list, err := r.List(ctx)
	for _, w := range list {
		if w.Name == name {
			return w, nil
		}
	}
	return Watched{}, errors.Join(err, ErrNoRepair)
}

// watchedFile joins a cap to the repairer's account. What the certificates are for
// must be what the verify capability says.
func watchedFile(c lease.RepairCap, account lease.Account) (repairer.File, error) {
	parsed, err := file.Parse(c.VerifyCap)
	v, ok := parsed.(file.CHKVerifier)
	if err != nil || !ok {
		return repairer.File{}, fmt.Errorf("%w: it has no verify capability of an immutable file", lease.ErrRepairCap)
	}
	if si, ueb := c.File(); si != v.StorageIndex || ueb != lease.UEBHash(v.UEBHash) {
		return repairer.File{}, fmt.Errorf("%w: its certificates are for another file than its verify capability", lease.ErrRepairCap)
	}
	authority, err := c.Authority(account)
	return repairer.File{Cap: c, Verifier: v, Authority: authority}, err
}

// List implements Repairer.
func (r runningRepairer) List(ctx context.Context) ([]Watched, error) {
	owners, err := askRepairer[repairer.Owners](ctx, r.n, repairer.AskOwners{})
	if err != nil {
		return nil, err
	}
	var all []Watched
	for _, o := range owners {
		w := Watched{Name: o.Name}
		for _, f := range o.Files {
			w.Files = append(w.Files, watched(f))
		}
		all = append(all, w)
	}
	return all, nil
}

func watched(f repairer.File) WatchedFile {
	s, v := f.State, f.Verifier
	return WatchedFile{
		StorageIndex: v.StorageIndex, Size: v.Size, Needed: v.Needed, Total: v.Total, Happy: min(f.Cap.Happy, v.Total),
		Added: f.Added, Until: unix(f.Cap.Until()), Checked: s.Checked, Verified: s.Verified, Repaired: s.Repaired, Next: s.Next,
		Shares: s.Shares, Happiness: s.Happiness, Summary: s.Summary, Healthy: s.Healthy, Recoverable: s.Recoverable,
		Lost: s.Lost, Pushed: s.Pushed, Trouble: s.Trouble,
	}
}

// Check implements Repairer.
func (r runningRepairer) Check(ctx context.Context, name string) error {
	_, err := askRepairer[repairer.Done](ctx, r.n, repairer.CheckNow{Name: name})
	return err
}

// Remove implements Repairer.
func (r runningRepairer) Remove(ctx context.Context, name string, file *grid.StorageIndex) error {
	_, err := askRepairer[repairer.Done](ctx, r.n, repairer.Remove{Name: name, File: file})
	return err
}
