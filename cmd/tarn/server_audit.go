package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/web/control"
)

type auditOptions struct {
	storageIndex string
	json         bool
}

// auditedLease is a line of `tarn server audit --json`: what control says,
// with the certificates explained.
type auditedLease struct {
	control.AuditedLease
	Chain *chain `json:"chain,omitempty"`
}

func newAudit(e *env) *cobra.Command {
	var o auditOptions
	c := &cobra.Command{
		Use:   "audit STORAGE-INDEX",
		Short: "Show who keeps the shares of a file here, and by whose grants",
		Long: `Lists every lease on the shares of a file that are on this node's storage
server: whose it is, when it was made and renewed and when it ends, and the whole
chain of certificates that led from an account of this server to the key that
logged in. The server keeps that chain and not the reference over which a
request came: all references under one chain are the same to it. A file's
storage index is shown by tarn cap --storage-index. The node may run or not.`,
		Example: "  tarn server audit aaaaaaaaaaaaaaaaaaaaaaaaaa\n  tarn server audit --json aaaaaaaaaaaaaaaaaaaaaaaaaa",
		Args:    between(1, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			o.storageIndex = args[0]
			return runAudit(ctx, e, o)
		}),
	}
	c.Flags().BoolVar(&o.json, "json", false, "for programs")
	return c
}

func runAudit(ctx context.Context, e *env, o auditOptions) error {
	si, err := grid.ParseStorageIndex(o.storageIndex)
	if err != nil {
		return fmt.Errorf("storage index: %w", err)
	}
	var leases []auditedLease
	err = e.asOperator(ctx, func(operator control.Operator) error {
		list, err := operator.Audit(ctx, si)
		for _, l := range list {
			leases = append(leases, auditedLease{AuditedLease: l})
		}
		return err
	})
	if err != nil {
		return err
	}
	x := explainer{names: e.knownNames(ctx)}
	for i := range leases {
		if leases[i].Chain, err = x.chainOf(leases[i].Certificates); err != nil {
			return err
		}
	}
	switch {
	case o.json:
		return writeJSON(e.stdout, leases)
	case len(leases) == 0:
		return e.print("no share of that file is here\n")
	}
	return e.print("%s", auditText(leases, time.Now()))
}

// chainOf explains certificates; nil if there are none.
func (x explainer) chainOf(encoded []byte) (*chain, error) {
	if encoded == nil {
		return nil, nil
	}
	c, err := lease.DecodeChain(encoded)
	if err != nil || c.Len() == 0 {
		return nil, err
	}
	return x.chain(c), nil
}

func auditText(leases []auditedLease, now time.Time) string {
	w := writer{now: now}
	for i, l := range leases {
		if i == 0 || leases[i-1].Share != l.Share {
			w.line(0, "Share %d, %s", l.Share, formatSize(l.Size))
		}
		w.line(1, "kept by    %s, charged %s", nameText(l.Holder), formatSize(l.Charged))
		w.line(2, "made       %s", clock(l.Made))
		w.line(2, "renewed    %s", clock(l.Renewed))
		w.line(2, "ends       %s, %s", clock(l.Expires), left(l.Expires, now))
		w.grants(l)
	}
	return w.String()
}

// grants says how the holder came to the lease.
func (w *writer) grants(l auditedLease) {
	switch {
	case l.Holder.Key == "":
		return
	case l.Chain != nil:
		w.line(2, "by these certificates, the last of which names the key that logged in")
		w.chain(l.Chain)
	case len(l.Keys) == 1:
		w.line(2, "by the account itself")
	default:
		w.line(2, "by certificates that were not shown since; their keys are")
	}
	if l.Chain == nil && len(l.Keys) > 1 || l.Chain != nil && l.rekeyed() {
		if l.Chain != nil {
			w.line(2, "since then a key was given another one's place; the keys are now")
		}
		for i, k := range l.Keys {
			w.line(2, "%d. %s", i+1, nameText(k))
		}
	}
}

// rekeyed reports whether the table names other keys than the certificates.
func (l auditedLease) rekeyed() bool {
	if len(l.Keys) != len(l.Chain.Certificates)+1 {
		return true
	}
	for i, c := range l.Chain.Certificates {
		if c.Signer.ID != l.Keys[i].Key || c.Delegate.ID != l.Keys[i+1].Key {
			return true
		}
	}
	return false
}

// nameText is "pub-v0-... (bob)", as in the explanation of a chain.
func nameText(k control.NamedKey) string {
	if k.Key == "" {
		return k.Petname
	}
	return (&named{k.Key, k.Petname}).String()
}
