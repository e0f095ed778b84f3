package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/web/control"
)

// asOperator lets do work as the operator of the node's storage server,
// whether the node runs or not.
func (e *env) asOperator(ctx context.Context, do func(o control.Operator) error) error {
	n, f, err := e.node()
	if err != nil {
		return err
	}
	defer n.Close()
	running, err := n.Running(ctx)
	if err != nil {
		return err
	}
	if running {
		return do(n.Operator())
	}
	o, err := f.offlineOperator(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(control.OperatorOf(o)), o.Close())
}

// offlineOperator opens the storage server of a node that does not run.
func (f folder) offlineOperator(ctx context.Context) (*tarn.OfflineOperator, error) {
	n, err := f.load(nil)
	if err != nil {
		return nil, err
	}
	if n.config.Storage == nil {
		return nil, notRunningError(f)
	}
	return tarn.OpenOperator(ctx, n.config)
}

// tellChanged prints a line for each account: name, key, what became of it.
func (e *env) tellChanged(c control.Changed, what string) error {
	for _, a := range c.Accounts {
		if err := e.print("%s %s\n", accountText(a.Petname, a.Key), what); err != nil {
			return err
		}
	}
	for _, k := range c.Keys {
		if err := e.print("%s %s\n", k, what); err != nil {
			return err
		}
	}
	return e.tellEnded(c)
}

func (e *env) tellEnded(c control.Changed) error {
	if c.Ended == 0 {
		return nil
	}
	return e.print("%s in progress %s ended\n", count(int64(c.Ended), "upload"), wasWere(c.Ended))
}

// accountText is "bob (pub-v0-abcdefgh)", or what there is of it.
func accountText(petname, key string) string {
	switch {
	case key == "":
		return petname
	case petname == "":
		return keyShort(key)
	default:
		return fmt.Sprintf("%s (%s)", petname, keyShort(key))
	}
}

// count is "1 share", "3 shares".
func count(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func wasWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

// quotaOf reads a quota: a size, or none.
func quotaOf(text string) (*int64, error) {
	if text == "" || strings.EqualFold(text, "none") {
		return nil, nil
	}
	n, err := parseSize(text)
	if err != nil {
		return nil, err
	}
	return &n, nil
}
