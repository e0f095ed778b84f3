package memnode

import (
	"context"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/lease"
)

// Journal is what the node's client is to say of its leases.
type Journal struct {
	Leases tarn.Leases
	// Renewals is how many times all of them were renewed.
	Renewals int
	// Files are all files, of which those without a held share have lapsed.
	Files []tarn.LeasedFile
	// Differences is what Reconcile finds, Servers its result; Options are
	// those that it was last given, without Found.
	Differences []tarn.LeaseDifference
	Servers     []tarn.Reconciliation
	Options     tarn.ReconcileOptions
	// TreeDifferences, Tree and TreeError are what ReconcileTree finds and ends
	// with; Roots and TreeOptions what it was last given.
	TreeDifferences []tarn.TreeDifference
	Tree            tarn.TreeReconciliation
	TreeError       error
	Roots           []string
	TreeOptions     tarn.ReconcileTreeOptions
	// Given and Kept are the capabilities that were given up, and kept.
	Given, Kept []string
	Usage       tarn.GridUsage
	// Error, if set, is what lists end with.
	Error error
}

// GridUsage is what Journal says.
func (n *Node) GridUsage(_ context.Context, how ...tarn.Option) (tarn.GridUsage, error) {
	n.noteAuthority(how)
	return n.Journal.Usage, nil
}

// Leases is what Journal says.
func (n *Node) Leases(context.Context) (tarn.Leases, error) { return n.Journal.Leases, nil }

// RenewLeases counts, and is what Journal says.
func (n *Node) RenewLeases(context.Context) (tarn.Leases, error) {
	n.Journal.Renewals++
	return n.Journal.Leases, nil
}

// LeasedFiles yields what Journal has.
func (n *Node) LeasedFiles(_ context.Context, all bool, yield func(tarn.LeasedFile) error) error {
	for _, f := range n.Journal.Files {
		if !all && f.Held > 0 {
			continue
		}
		if err := yield(f); err != nil {
			return err
		}
	}
	return n.Journal.Error
}

// GiveUp notes the capability.
func (n *Node) GiveUp(_ context.Context, capability string, how ...tarn.Option) ([]tarn.FileLeases, error) {
	n.noteAuthority(how)
	return n.onFile(capability, &n.Journal.Given)
}

// Keep notes the capability.
func (n *Node) Keep(_ context.Context, capability string, how ...tarn.Option) ([]tarn.FileLeases, error) {
	n.noteAuthority(how)
	return n.onFile(capability, &n.Journal.Kept)
}

func (n *Node) onFile(capability string, list *[]string) ([]tarn.FileLeases, error) {
	if _, err := file.Parse(capability); err != nil {
		return nil, tarn.ErrCap
	}
	*list = append(*list, capability)
	return []tarn.FileLeases{{Nickname: "s1", Leases: 1}, {Nickname: "s2", Err: lease.ErrNoSuchRoot}}, nil
}

// ReconcileTree yields what Journal has, and one directory that can't be read.
func (n *Node) ReconcileTree(_ context.Context, roots []string, o tarn.ReconcileTreeOptions, how ...tarn.Option) (tarn.TreeReconciliation, error) {
	n.noteAuthority(how)
	n.Journal.Roots, n.Journal.TreeOptions = roots, o
	o.Progress(7)
	if err := o.Unread(tarn.Visited{Path: []string{"lost"}}, tarn.ErrNotEnoughShares); err != nil {
		return tarn.TreeReconciliation{}, err
	}
	for _, d := range n.Journal.TreeDifferences {
		if err := o.Found(d); err != nil {
			return tarn.TreeReconciliation{}, err
		}
	}
	return n.Journal.Tree, n.Journal.TreeError
}

// Reconcile yields what Journal has.
func (n *Node) Reconcile(_ context.Context, o tarn.ReconcileOptions, how ...tarn.Option) ([]tarn.Reconciliation, error) {
	n.noteAuthority(how)
	found := o.Found
	o.Found = nil
	n.Journal.Options = o
	for _, d := range n.Journal.Differences {
		if err := found(d); err != nil {
			return nil, err
		}
	}
	return n.Journal.Servers, n.Journal.Error
}
