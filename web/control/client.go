package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/tarn-grid/tarn"
)

// Client talks to a node over its socket. It keeps no connection open between
// calls longer than a moment; Close drops them.
type Client struct {
	http      *http.Client
	path      string
	authority []byte // a text to use instead of the node's own
}

// NewClient is a client of the node whose socket is at path. Nothing is
// dialled before the first call.
func NewClient(path string) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, path)
		},
		DisableCompression: true,
		WriteBufferSize:    64 << 10,
		ReadBufferSize:     64 << 10,
	}
	return &Client{http: &http.Client{Transport: transport}, path: path}
}

// Under is a client of the same node whose Put, Get and OwnUsage use the
// authority of a text instead of the node's own; the text travels in bodies.
func (c *Client) Under(authority []byte) *Client { return &Client{c.http, c.path, authority} }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Running reports whether somebody listens on the socket.
func (c *Client) Running(ctx context.Context) (bool, error) {
	conn, err := dial(ctx, c.path)
	if errors.Is(err, ErrNotRunning) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, conn.Close()
}

// Status is the node's status.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	return s, c.call(ctx, http.MethodGet, pathStatus, nil, &s)
}

// OwnUsage is what the node's client holds at every server.
func (c *Client) OwnUsage(ctx context.Context) (OwnUsage, error) {
	body, err := json.Marshal(usageRequest{string(c.authority)})
	if err != nil {
		return OwnUsage{}, fmt.Errorf("encode the request: %w", err)
	}
	var u OwnUsage
	return u, c.call(ctx, http.MethodPost, pathUsage, bytes.NewReader(body), &u)
}

// AddAuthority gives the node's client the authority that r has the text of.
func (c *Client) AddAuthority(ctx context.Context, r io.Reader) (AuthoritySummary, error) {
	var s AuthoritySummary
	return s, c.call(ctx, http.MethodPost, pathAddAuthority, r, &s)
}

// RemoveAuthority makes the node's client forget what has this name.
func (c *Client) RemoveAuthority(ctx context.Context, name string) (AuthoritySummary, error) {
	body, err := json.Marshal(removeAuthority{name})
	if err != nil {
		return AuthoritySummary{}, fmt.Errorf("encode the name: %w", err)
	}
	var s AuthoritySummary
	return s, c.call(ctx, http.MethodPost, pathRemoveAuthority, bytes.NewReader(body), &s)
}

// Metrics writes the node's metrics in Prometheus' text form.
func (c *Client) Metrics(ctx context.Context, w io.Writer) error {
	response, err := c.do(ctx, http.MethodGet, pathMetrics, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(w, response.Body); err != nil {
		return fmt.Errorf("read the node's metrics: %w", err)
	}
	return nil
}

// call does a request whose answer is one object.
func (c *Client) call(ctx context.Context, method, path string, body io.Reader, into any) error {
	response, err := c.do(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(into); err != nil {
		return brokenOff(err)
	}
	return nil
}

// do does a request; an answer other than 200 becomes its error.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://node"+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, plain(ctx, err)
	}
	if response.StatusCode == http.StatusOK {
		return response, nil
	}
	defer response.Body.Close()
	return nil, readError(response)
}

// plain removes what only says that it was HTTP, address included.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	if errors.Is(err, ErrNotRunning) {
		return ErrNotRunning
	}
	if connectionEnded(err) {
		return ErrBrokenOff
	}
	return fmt.Errorf("ask the node: %w", err)
}

func readError(response *http.Response) error {
	var o errorObject
	if err := json.NewDecoder(io.LimitReader(response.Body, maxObject)).Decode(&o); err != nil || o.Code == "" {
		return fmt.Errorf("%w (HTTP status %d): are command and node of the same version?", ErrRequest, response.StatusCode)
	}
	return o.err()
}

// PutOptions of a client: those of tarn.Put, whose Authority is not used; see
// Under.
type PutOptions = tarn.PutOptions
