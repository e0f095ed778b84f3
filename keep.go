package tarn

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// renewalText is a renewal cap of what was lent for one file: the right to renew
// leases and no more. The same authority gives the same text, so that it is kept
// once.
func (n *Node) renewalText(lent lease.Authority) ([]byte, error) {
	w, err := OpenWallet(n.config)
	if err != nil {
		return nil, err
	}
	renewal, err := renewalCap(w.Account(), lent, w.ServerIDs())
	if err != nil {
		return nil, fmt.Errorf("nothing to keep its leases alive can be made of the authority: %w", err)
	}
	return renewal.Text()
}

// renewalCap signs for keys that come from the node's own account and the
// authority, so that no two servers, nor two lenders, see the same.
func renewalCap(own lease.Account, lent lease.Authority, servers []grid.ServerID) (lease.Authority, error) {
	id := lent.ID()
	seed, err := hkdf.Key(sha256.New, own.Key(grid.ServerID{}).Seed(), nil, "tarn renewal cap v1"+string(id[:]), sha256.Size)
	if err != nil {
		return lease.Authority{}, err
	}
	var random io.Reader = rand.NewChaCha8([32]byte(seed))
	var all lease.Authority
	var refused error
	for _, h := range lent.Holdings {
		_, labelled := h.Chain.Label()
		d := lease.Delegation{SignerGetsLease: !labelled, Restrictions: lease.Restrictions{Operation: new(lease.OpRenewLease)}}
		part, err := lease.Authority{Holdings: []lease.Holding{h}}.HandOver(random, d, servers)
		refused = errors.Join(refused, err)
		all = all.Join(part)
	}
	if len(all.Holdings) > 0 {
		refused = nil
	}
	return all, refused
}

// renewing has what was stored under a lent authority renewed, where a renewal
// cap is given, and lists the servers where nobody does. The file is stored
// whatever comes of it.
func (n *Node) renewing(ctx context.Context, renewal []byte, labels map[grid.ServerID]grid.PublicKey) []grid.ServerID {
	left, err := n.unrenewed(labels)
	if len(left) > 0 && len(renewal) > 0 {
		if _, err = n.AddAuthority(ctx, bytes.NewReader(renewal)); err == nil {
			left, err = n.unrenewed(labels)
		}
	}
	if err != nil {
		n.log.Error("who renews the leases of a file that was stored under a lent authority is not known", "error", err)
		return slices.SortedFunc(maps.Keys(labels), compareServers)
	}
	return left
}

func compareServers(a, b grid.ServerID) int { return bytes.Compare(a[:], b[:]) }

// unrenewed lists the servers, by id, where no authority that the node has
// renews leases of this label.
func (n *Node) unrenewed(labels map[grid.ServerID]grid.PublicKey) ([]grid.ServerID, error) {
	w, err := OpenWallet(n.config)
	if err != nil {
		return nil, err
	}
	mine, err := w.Authority()
	if err != nil {
		return nil, err
	}
	var list []grid.ServerID
	for id, label := range labels {
		if !slices.ContainsFunc(mine.For(id), func(c lease.Credential) bool { return renews(c, label) }) {
			list = append(list, id)
		}
	}
	slices.SortFunc(list, compareServers)
	return list, nil
}

func renews(c lease.Credential, label grid.PublicKey) bool {
	limits, err := c.Chain.Effective()
	return err == nil && c.Label() == label && limits.Operations()&lease.OpRenewLease != 0
}
