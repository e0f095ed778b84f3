package tarn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// ReconcileOptions say what is done about differences; by default nothing.
type ReconcileOptions struct {
	// Fix mends them: leases that the journal does not know are noted in it,
	// those that have lapsed are made again where the share is still there,
	// those that end too early are renewed.
	Fix bool
	// CancelUnknown gives up leases that the journal does not know, instead of
	// noting them; it needs Fix.
	CancelUnknown bool
	// Found, if not nil, is told of each difference, after it was mended. An
	// error that it returns ends the reconciliation.
	Found func(LeaseDifference) error
}

// LeaseDifference is a share about whose lease the journal and the server do
// not agree.
type LeaseDifference struct {
	Server   grid.ServerID
	Nickname string
	Kind     lease.MatchKind
	Share    lease.ShareID
	// VerifyCap is the file's, empty where the journal does not know it.
	VerifyCap string
	// Expires is when the lease ends at the server; zero where there is none.
	Expires time.Time
	// Mended says what was done about it; empty for nothing.
	Mended string
}

// Reconciliation is how the journal and one server compare.
type Reconciliation struct {
	Server   grid.ServerID
	Nickname string
	// There is how many leases the server has, Known how many the journal
	// lists and has not noted as lapsed.
	There, Known int64
	// The differences, and how many of them were mended.
	Unknown, Lapsed, Returned, Shorter, Mended int64
	// Err is why the server could not be asked, or not to the end.
	Err error
}

// Differences is how many there are.
func (r Reconciliation) Differences() int64 { return r.Unknown + r.Lapsed + r.Returned + r.Shorter }

// Reconcile compares the journal with the leases that each server lists, one
// server after the other, holding no more than a few thousand leases at a time.
// Servers that can't be asked are among the results, with the reason.
func (n *Node) Reconcile(ctx context.Context, o ReconcileOptions, how ...Option) ([]Reconciliation, error) {
	if n.config.Client == nil {
		return nil, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	servers, err := n.serversByID(ctx, how...)
	if err != nil {
		return nil, n.cause(err)
	}
	known, err := n.journal.Servers()
	if err != nil {
		return nil, err
	}
	var places []lease.PlacedLease
	for _, s := range known {
		places = append(places, lease.PlacedLease{Server: s.Server})
	}
	var all []Reconciliation
	for _, id := range fileServers(servers, places) {
		s := servers[id]
		c := reconciler{n: n, ctx: ctx, o: o, server: s, result: Reconciliation{Server: id, Nickname: s.Name()}}
		err := c.run()
		if errors.As(err, new(foundError)) || ctx.Err() != nil {
			return all, n.cause(err)
		}
		c.result.Err = err
		all = append(all, c.result)
	}
	return all, nil
}

// foundError is one that ReconcileOptions.Found returned.
type foundError struct{ error }

func (e foundError) Unwrap() error { return e.error }

// reconciler compares the journal with one server.
type reconciler struct {
	n      *Node
	ctx    context.Context
	o      ReconcileOptions
	server client.ServerStatus
	result Reconciliation
	// differ is what is still to be mended and told, agree what is only to be
	// noted.
	differ []lease.Match
	agree  []lease.JournalLease
}

// reconcileAtOnce is how many matches are held before they are mended.
const reconcileAtOnce = wire.MaxEnumerated

func (c *reconciler) run() error {
	if c.server.State != client.LoggedIn {
		_, _, err := askServer[*wire.Enumerated](c.ctx, c.n, c.server, &wire.Enumerate{Most: 1})
		return err // why it is not
	}
	if err := lease.Reconcile(c.journal(), c.enumerate(), c.match); err != nil {
		return err
	}
	return c.flush()
}

// journal lists what the journal has at the server of the account that the
// node is logged in with.
func (c *reconciler) journal() iter.Seq2[lease.JournalLease, error] {
	return func(yield func(lease.JournalLease, error) bool) {
		var after *lease.ShareID
		for {
			leases, more, err := c.n.journal.LeasesAfter(c.server.Announcement.Server, after, reconcileAtOnce)
			if err != nil {
				yield(lease.JournalLease{}, err)
				return
			}
			for _, l := range leases {
				if (l.Label.IsZero() || l.Label == c.server.Label) && !yield(l, nil) {
					return
				}
			}
			if !more {
				return
			}
			after = &leases[len(leases)-1].Share
		}
	}
}

// enumerate lists what the server has.
func (c *reconciler) enumerate() iter.Seq2[lease.HeldLease, error] {
	return func(yield func(lease.HeldLease, error) bool) {
		ask := &wire.Enumerate{Most: wire.MaxEnumerated}
		for {
			leases, more, err := c.page(ask)
			if err != nil {
				yield(lease.HeldLease{}, err)
				return
			}
			for _, l := range leases {
				if !yield(l, nil) {
					return
				}
			}
			if !more {
				return
			}
			ask = &wire.Enumerate{Most: wire.MaxEnumerated, After: wire.AppendShare(nil, leases[len(leases)-1].Share)}
		}
	}
}

// page is a part of the server's list, which must lie behind the one before.
func (c *reconciler) page(ask *wire.Enumerate) ([]lease.HeldLease, bool, error) {
	part, body, err := askServer[*wire.Enumerated](c.ctx, c.n, c.server, ask)
	if err != nil {
		return nil, false, err
	}
	leases, err := wire.Leases(body)
	if err != nil {
		return nil, false, err
	}
	if after, ok := ask.Behind(); ok && len(leases) > 0 && leases[0].Share.Compare(after) <= 0 {
		return nil, false, fmt.Errorf("%w: the server's list goes back", wire.ErrMalformed)
	}
	return leases, part.More, nil
}

func (c *reconciler) match(m lease.Match) error {
	if m.Theirs != nil {
		c.result.There++
	}
	if m.Mine != nil && m.Mine.Lapsed == 0 {
		c.result.Known++
	}
	counts := map[lease.MatchKind]*int64{
		lease.Unknown: &c.result.Unknown, lease.Lapsed: &c.result.Lapsed,
		lease.Returned: &c.result.Returned, lease.Shorter: &c.result.Shorter,
	}
	if count, differs := counts[m.Kind()]; differs {
		*count++
		c.differ = append(c.differ, m)
	} else if m.Theirs != nil && m.Mine.Expires != m.Theirs.Expires {
		c.agree = append(c.agree, c.held(m))
	}
	if len(c.differ)+len(c.agree) < reconcileAtOnce {
		return nil
	}
	return c.flush()
}

// held is a lease as the server has it.
func (c *reconciler) held(m lease.Match) lease.JournalLease {
	return lease.JournalLease{Share: m.Theirs.Share, Label: c.server.Label, Renewed: m.Theirs.Renewed, Expires: m.Theirs.Expires}
}

// flush mends what has gathered, and tells of it.
func (c *reconciler) flush() error {
	differ, agree := c.differ, c.agree
	c.differ, c.agree = nil, nil
	mended := make([]string, len(differ))
	if c.o.Fix {
		if err := c.mend(differ, agree, mended); err != nil {
			return err
		}
	}
	for i, m := range differ {
		if mended[i] != "" && mended[i] != goneText {
			c.result.Mended++
		}
		if err := c.tell(m, mended[i]); err != nil {
			return err
		}
	}
	return nil
}

// What was done, in words.
const (
	goneText      = "the share is gone"
	notedText     = "noted in the journal"
	cancelledText = "given up"
	addedText     = "made again"
	renewedText   = "renewed"
)

func (c *reconciler) mend(differ []lease.Match, agree []lease.JournalLease, mended []string) error {
	of := map[lease.MatchKind][]int{}
	for i, m := range differ {
		of[m.Kind()] = append(of[m.Kind()], i)
	}
	for _, i := range of[lease.Returned] {
		agree, mended[i] = append(agree, c.held(differ[i])), notedText
	}
	unknown := c.adopt
	if c.o.CancelUnknown {
		unknown = c.cancel
	}
	err := errors.Join(unknown(differ, of[lease.Unknown], mended), c.renew(differ, of[lease.Shorter], mended))
	agree = append(agree, c.remake(differ, of[lease.Lapsed], mended)...)
	return errors.Join(err, c.n.journal.SetLeases(c.server.Announcement.Server, agree))
}

// adopt notes leases that the journal does not know.
func (c *reconciler) adopt(differ []lease.Match, which []int, mended []string) error {
	if len(which) == 0 {
		return nil
	}
	var leases []lease.JournalLease
	for _, i := range which {
		leases = append(leases, c.held(differ[i]))
		mended[i] = notedText
	}
	return c.n.journal.Adopt(c.server.Announcement.Server, leases)
}

// cancel gives up leases that the journal does not know.
func (c *reconciler) cancel(differ []lease.Match, which []int, mended []string) error {
	outcomes, _, err := onShares(c.ctx, c.n, c.server, false, sharesOf(differ, which))
	for n, o := range outcomes {
		if o == wire.ShareDone {
			mended[which[n]] = cancelledText
		}
	}
	return err
}

// renew renews leases that end too early.
func (c *reconciler) renew(differ []lease.Match, which []int, mended []string) error {
	outcomes, end, err := onShares(c.ctx, c.n, c.server, true, sharesOf(differ, which))
	var leases []lease.JournalLease
	for n, o := range outcomes {
		if o == wire.ShareDone {
			l := c.held(differ[which[n]])
			l.Renewed, l.Expires = time.Now().Unix(), end
			leases, mended[which[n]] = append(leases, l), renewedText
		}
	}
	return errors.Join(err, c.n.journal.SetLeases(c.server.Announcement.Server, leases))
}

func sharesOf(differ []lease.Match, which []int) []lease.ShareID {
	var ids []lease.ShareID
	for _, i := range which {
		ids = append(ids, differ[i].Share())
	}
	return ids
}

// remakers is how many leases are made again at a time.
const remakers = 32

// remake makes leases again that have lapsed, where the share is still there,
// and returns what is to be noted of each.
func (c *reconciler) remake(differ []lease.Match, which []int, mended []string) []lease.JournalLease {
	leases := make([]lease.JournalLease, len(which))
	var group sync.WaitGroup
	slots := make(chan struct{}, remakers)
	for n, i := range which {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			leases[n], mended[i] = c.remakeOne(*differ[i].Mine)
		})
	}
	group.Wait()
	return leases
}

// remakeOne puts a lease on a share only if its content is that of the file:
// somebody else may have stored something else under its storage index.
func (c *reconciler) remakeOne(l lease.JournalLease) (lease.JournalLease, string) {
	now := time.Now().Unix()
	lapsed := l
	lapsed.Lapsed = now
	have, err := numbersAt(c.ctx, c.n, c.server, l.Share.StorageIndex)
	if err != nil {
		return l, ""
	}
	f, _, err := c.n.journal.File(l.Share.StorageIndex)
	want, known := contentOf(f.VerifyCap)
	content, there := have[l.Share.Num]
	if err != nil || !there || !known || content != want {
		return lapsed, goneText
	}
	ask := &wire.AddLease{StorageIndex: l.Share.StorageIndex, Nums: []grid.ShareNum{l.Share.Num}, UEBHash: content}
	done, _, err := askServer[*wire.Leased](c.ctx, c.n, c.server, ask)
	if err != nil {
		return lapsed, ""
	}
	return lease.JournalLease{Share: l.Share, Label: c.server.Label, Renewed: now, Expires: done.Expires}, addedText
}

func (c *reconciler) tell(m lease.Match, mended string) error {
	if c.o.Found == nil {
		return nil
	}
	d := LeaseDifference{
		Server: c.result.Server, Nickname: c.result.Nickname, Kind: m.Kind(), Share: m.Share(), Mended: mended,
	}
	if m.Theirs != nil {
		d.Expires = unix(m.Theirs.Expires)
	}
	f, _, err := c.n.journal.File(m.Share().StorageIndex)
	if err != nil {
		return err
	}
	d.VerifyCap = f.VerifyCap
	if err := c.o.Found(d); err != nil {
		return foundError{err}
	}
	return nil
}
