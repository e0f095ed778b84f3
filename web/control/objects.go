package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/web/tahoe"
)

// Paths of the API, version 1.
const (
	pathObject        = "/v1/object"
	pathMakeDirectory = "/v1/directory/make"
	pathLink          = "/v1/directory/link"
	pathUnlink        = "/v1/directory/unlink"
	pathRename        = "/v1/directory/rename"
)

// objectRequest asks what a capability and a path from it lead to.
type objectRequest struct {
	Cap       string   `json:"cap"`
	Path      []string `json:"path,omitempty"`
	Authority string   `json:"authority,omitempty"`
}

// object answers with the description of a file, or of a directory and what is
// in it, as the gateway does to t=json.
func (s *server) object(w http.ResponseWriter, r *http.Request) {
	var ask objectRequest
	how, ok := s.readUnder(w, r, &ask, &ask.Authority)
	if !ok {
		return
	}
	l, err := s.follow(r.Context(), ask.Cap, ask.Path, how)
	if err != nil {
		reply(w, nil, err)
		return
	}
	d, isDirectory := l.Directory()
	if !isDirectory {
		kind, n := tahoe.Describe(l)
		_ = tahoe.WriteNode(w, kind, n) // who asked is gone if this fails
		return
	}
	content, err := s.node.ReadDirectory(r.Context(), d, how...)
	if err != nil {
		reply(w, nil, err)
		return
	}
	_ = tahoe.WriteDirectory(w, l, content)
}

// follow is what a path leads to.
func (s *server) follow(ctx context.Context, capability string, path []string, how []tarn.Option) (tarn.Found, error) {
	c, err := file.Parse(capability)
	if err != nil {
		return tarn.Found{}, fmt.Errorf("%w: %w", tarn.ErrCap, err)
	}
	links, err := tarn.Follow(ctx, s.node, c, path, how...)
	return links[len(links)-1], err
}

// Object asks what a capability and a path from it lead to. The text is what it
// was read from.
func (c *Client) Object(ctx context.Context, capability string, path ...string) (o tahoe.Object, text []byte, err error) {
	ask, err := json.Marshal(objectRequest{Cap: capability, Path: path, Authority: string(c.authority)})
	if err != nil {
		return o, nil, fmt.Errorf("encode the request: %w", err)
	}
	response, err := c.do(ctx, http.MethodPost, pathObject, bytes.NewReader(ask), nil)
	if err != nil {
		return o, nil, err
	}
	defer response.Body.Close()
	if text, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer)); err != nil {
		return o, nil, brokenOff(err)
	}
	o, err = tahoe.Read(bytes.NewReader(text))
	if err != nil {
		return o, nil, brokenOff(err)
	}
	return o, text, nil
}
