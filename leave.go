package tarn

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// ErrNoMembership means that the node is no member of that manager's grid.
var ErrNoMembership = client.ErrNoMembership

// Leaving is what becomes of what a node stored as a member, by its journal.
type Leaving struct {
	// Cancelled is how many leases were given up.
	Cancelled int
	// Left is how many go on until they end, at the latest at LastEnd, and are
	// renewed no more unless the node may store there for another reason.
	Left    int
	LastEnd time.Time
	// Failed are servers at which leases could not be given up.
	Failed []ServerError
}

// leavePage is how many leases are worked on at a time.
const leavePage = wire.MaxShares

// Leave ends this node's membership in a grid: its cards, what logins under them
// gave, and the reference are forgotten. The manager is not told, and who has the
// reference may join again with the same account. With cancel set, leases at the
// grid's servers are given up before. Errors: ErrNoMembership.
func (n *Node) Leave(ctx context.Context, manager grid.ServerID, cancel bool) (Leaving, error) {
	if n.config.Client == nil {
		return Leaving{}, ErrNoClient
	}
	ctx, stop := n.until(ctx)
	defer stop()
	n.joining.Lock()
	defer n.joining.Unlock()
	cards, err := n.cardsFrom(manager)
	if err != nil {
		return Leaving{}, err
	}
	l, err := n.leaving(ctx, cards, cancel)
	if err != nil {
		return l, n.cause(err)
	}
	_, err = env.Ask[client.Left](ctx, n.system, n.root, func(replyTo *env.PID) any {
		return actors.ToClient{Message: client.Leave{ReplyTo: replyTo, Manager: manager}}
	}, nil)
	if err != nil {
		return l, n.cause(err)
	}
	return l, n.forgetReferences(cards)
}

// cardsFrom are those that were kept of a manager's.
func (n *Node) cardsFrom(manager grid.ServerID) ([]lease.Card, error) {
	state, err := membershipFile{n.folder.membershipPath(manager, stateSuffix)}.Load()
	if err != nil {
		return nil, err
	}
	var cards []lease.Card
	for _, b := range state.Cards {
		if card, err := lease.ReadCard(b, manager.Key()); err == nil {
			cards = append(cards, card)
		}
	}
	return cards, nil
}

// leaving looks at what was stored under cards, and gives it up with cancel set.
func (n *Node) leaving(ctx context.Context, cards []lease.Card, cancel bool) (l Leaving, err error) {
	var servers map[grid.ServerID]client.ServerStatus
	if cancel {
		if servers, err = n.serversByID(ctx); err != nil {
			return l, err
		}
	}
	for _, card := range cards {
		if err := n.leavingServer(ctx, &l, card, servers[card.Server], cancel); err != nil {
			return l, err
		}
	}
	return l, nil
}

// leavingServer goes through the leases at one server, part after part.
func (n *Node) leavingServer(ctx context.Context, l *Leaving, card lease.Card, s client.ServerStatus, cancel bool) error {
	var after *lease.ShareID
	for {
		leases, more, err := n.journal.LeasesAfter(card.Server, after, leavePage)
		if err != nil {
			return err
		}
		held, ids := cardLeases(leases, card.Key)
		if cancel && len(ids) > 0 {
			if err := n.cancelHeld(ctx, s, held, ids); err != nil {
				l.Failed = append(l.Failed, ServerError{card.Server, s.Announcement.Nickname, err})
				cancel = false // the rest only counts
			}
		}
		for _, h := range held {
			if cancel {
				l.Cancelled++
				continue
			}
			l.Left++
			if end := unix(h.Expires); end.After(l.LastEnd) {
				l.LastEnd = end
			}
		}
		if !more {
			return nil
		}
		after = &leases[len(leases)-1].Share
	}
}

// cardLeases are those that a key holds, and their shares.
func cardLeases(leases []lease.JournalLease, key grid.PublicKey) (held []lease.JournalLease, ids []lease.ShareID) {
	for _, l := range leases {
		if l.Lapsed == 0 && (l.Label == key || l.Label.IsZero()) {
			held, ids = append(held, l), append(ids, l.Share)
		}
	}
	return held, ids
}

// cancelHeld gives leases up, and takes files off the list of which none is left;
// of others it notes that these have lapsed.
func (n *Node) cancelHeld(ctx context.Context, s client.ServerStatus, held []lease.JournalLease, ids []lease.ShareID) error {
	if s.PID == nil || s.State != client.LoggedIn {
		return errors.Join(errNotLoggedIn, s.Err)
	}
	if _, _, err := onShares(ctx, n, s, false, ids); err != nil {
		return err
	}
	now := time.Now().Unix()
	for i := range held {
		held[i].Lapsed = now
	}
	if err := n.journal.SetLeases(s.Announcement.Server, held); err != nil {
		return err
	}
	var gone []grid.StorageIndex
	for _, h := range held {
		left, err := n.journal.Leases(h.Share.StorageIndex)
		if err != nil {
			return err
		}
		if !anyHeld(left) {
			gone = append(gone, h.Share.StorageIndex)
		}
	}
	return n.journal.Drop(gone...)
}

var errNotLoggedIn = errors.New("not logged in there")

func anyHeld(leases []lease.PlacedLease) bool {
	for _, l := range leases {
		if l.Lapsed == 0 {
			return true
		}
	}
	return false
}

// forgetReferences removes what logins under the cards gave.
func (n *Node) forgetReferences(cards []lease.Card) error {
	cache := references{n.folder.private("references")}
	for _, card := range cards {
		id := lease.Credential{Key: n.config.Client.Account.Key(card.Server), Chain: card.Chain}.ID()
		if err := os.Remove(cache.path(card.Server, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
