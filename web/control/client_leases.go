package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Leases is what the node's client knows of its leases.
func (c *Client) Leases(ctx context.Context) (Leases, error) {
	var l Leases
	return l, c.call(ctx, http.MethodGet, pathLeases, nil, &l)
}

// RenewLeases renews all of them, due or not.
func (c *Client) RenewLeases(ctx context.Context) (Leases, error) {
	var l Leases
	return l, c.call(ctx, http.MethodPost, pathRenew, nil, &l)
}

// LeasedFiles yields the files in the journal: all of them, or those of which
// leases have lapsed.
func (c *Client) LeasedFiles(ctx context.Context, all bool, yield func(LeasedFile) error) error {
	path := pathLeasedFiles
	if all {
		path += "?all=true"
	}
	_, err := lines(ctx, c, http.MethodGet, path, nil, func(e leaseEvent) *LeasedFile { return e.File }, yield)
	return err
}

// GiveUp ends the account's leases on a file, and forgets it.
func (c *Client) GiveUp(ctx context.Context, capability string) ([]FileLeases, error) {
	return c.onFile(ctx, pathGiveUp, capability)
}

// Keep renews the account's leases on a file, from now on.
func (c *Client) Keep(ctx context.Context, capability string) ([]FileLeases, error) {
	return c.onFile(ctx, pathKeep, capability)
}

func (c *Client) onFile(ctx context.Context, path, capability string) ([]FileLeases, error) {
	body, err := json.Marshal(capRequest{capability, string(c.authority)})
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	var list []FileLeases
	return list, c.call(ctx, http.MethodPost, path, bytes.NewReader(body), &list)
}

// Reconcile compares the journal with the servers and yields each difference.
func (c *Client) Reconcile(ctx context.Context, fix, cancelUnknown bool, yield func(LeaseDifference) error) ([]Reconciliation, error) {
	body, err := json.Marshal(reconcileRequest{fix, cancelUnknown, string(c.authority)})
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	end, err := lines(ctx, c, http.MethodPost, pathReconcile, bytes.NewReader(body), func(e leaseEvent) *LeaseDifference { return e.Difference }, yield)
	return end.Servers, err
}

// lines reads an answer of many lines and yields what of finds in all but the
// last.
func lines[T any](ctx context.Context, c *Client, method, path string, body io.Reader, of func(leaseEvent) *T, yield func(T) error) (leaseEnd, error) {
	response, err := c.do(ctx, method, path, body, nil)
	if err != nil {
		return leaseEnd{}, err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	for {
		var e leaseEvent
		if err := decoder.Decode(&e); err != nil {
			return leaseEnd{}, brokenOff(err)
		}
		switch {
		case e.Error != nil:
			return leaseEnd{}, e.Error.err()
		case e.End != nil:
			return *e.End, nil
		case of(e) == nil:
			return leaseEnd{}, fmt.Errorf("%w: a line that says nothing", ErrBrokenOff)
		}
		if err := yield(*of(e)); err != nil {
			return leaseEnd{}, err
		}
	}
}

// GridUsage is what the account holds on all servers, and what is held below
// it.
func (c *Client) GridUsage(ctx context.Context) (GridUsage, error) {
	body, err := json.Marshal(usageRequest{string(c.authority)})
	if err != nil {
		return GridUsage{}, fmt.Errorf("encode the request: %w", err)
	}
	var u GridUsage
	return u, c.call(ctx, http.MethodPost, pathGridUsage, bytes.NewReader(body), &u)
}
