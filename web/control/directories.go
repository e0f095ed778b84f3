package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

// Place is what a path leads to from a capability.
type Place struct {
	Cap  string   `json:"cap,omitempty"`
	Path []string `json:"path,omitempty"`
}

// above is the directory that the place is in, and its name there.
func (p Place) above() (Place, string, error) {
	if len(p.Path) == 0 {
		return Place{}, "", fmt.Errorf("%w: a capability alone has no name in a directory", ErrPlace)
	}
	last := len(p.Path) - 1
	return Place{p.Cap, p.Path[:last]}, p.Path[last], nil
}

// Child is an entry that is to be in a directory.
type Child struct {
	Name     string          `json:"name"`
	Cap      string          `json:"cap"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// directoryRequest asks for a change of a directory.
type directoryRequest struct {
	Place
	To        Place        `json:"to,omitempty"`
	Children  []Child      `json:"children,omitempty"`
	Format    tarn.Format  `json:"format,omitempty"`
	Replace   tarn.Replace `json:"replace,omitempty"`
	Authority string       `json:"authority,omitempty"`
}

// directoryAnswer has the capability of what was made or taken out.
type directoryAnswer struct {
	Cap string `json:"cap"`
}

// changing serves a change of a directory.
func (s *server) changing(do func(context.Context, directoryRequest, []tarn.Option) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask directoryRequest
		if err := readObjectUpTo(maxChildren, r.Body, &ask); err != nil {
			reply(w, nil, err)
			return
		}
		how, err := s.under(ask.Authority)
		if err != nil {
			reply(w, nil, err)
			return
		}
		capability, err := do(r.Context(), ask, how)
		reply(w, directoryAnswer{capability}, err)
	}
}

// maxChildren bounds the children of a request, in bytes of JSON.
const maxChildren = 256 << 20

func (d directoryRequest) links() []tarn.Link {
	links := make([]tarn.Link, len(d.Children))
	for i, c := range d.Children {
		links[i] = tarn.Link{Name: c.Name, Cap: c.Cap, Metadata: string(c.Metadata), Replace: d.Replace}
	}
	return links
}

// makeDirectory makes one that is in no other, or what is missing of a path.
func (s *server) makeDirectory(ctx context.Context, ask directoryRequest, how []tarn.Option) (string, error) {
	o := tarn.MutableOptions{Format: ask.Format, Authority: tarn.AuthorityOf(how...)}
	if ask.Cap == "" {
		made, err := s.node.MakeDirectory(ctx, o, ask.links()...)
		return made.Cap, err
	}
	return s.ensure(ctx, ask.Place, o)
}

// ensure makes what is missing of a path.
func (s *server) ensure(ctx context.Context, p Place, o tarn.MutableOptions) (string, error) {
	c, err := file.Parse(p.Cap)
	if err != nil {
		return "", fmt.Errorf("%w: %w", tarn.ErrCap, err)
	}
	links, err := tarn.MakeDirectories(ctx, s.node, c, p.Path, o)
	if err != nil {
		return "", err
	}
	return links[len(links)-1].Capability().String(), nil
}

// link puts children into a directory, which is made if it is missing.
func (s *server) link(ctx context.Context, ask directoryRequest, how []tarn.Option) (string, error) {
	dir, err := s.ensure(ctx, ask.Place, tarn.MutableOptions{Authority: tarn.AuthorityOf(how...)})
	if err != nil {
		return "", err
	}
	_, err = s.node.Link(ctx, dir, ask.links(), how...)
	return dir, err
}

func (s *server) unlink(ctx context.Context, ask directoryRequest, how []tarn.Option) (string, error) {
	dir, name, err := s.parent(ctx, ask.Place, how)
	if err != nil {
		return "", err
	}
	was, err := s.node.Unlink(ctx, dir, name, how...)
	if err != nil || was.Err != nil {
		return "", err
	}
	return was.Capability().String(), nil
}

func (s *server) rename(ctx context.Context, ask directoryRequest, how []tarn.Option) (string, error) {
	from, name, err := s.parent(ctx, ask.Place, how)
	if err != nil {
		return "", err
	}
	above, newName, err := ask.To.above()
	if err == nil {
		err = s.checkMove(ctx, ask.Place, above, how)
	}
	if err != nil {
		return "", err
	}
	to, err := s.ensure(ctx, above, tarn.MutableOptions{Authority: tarn.AuthorityOf(how...)})
	if err != nil {
		return "", err
	}
	return "", s.node.Rename(ctx, from, name, to, newName, ask.Replace, how...)
}

// checkMove looks whether a directory is to be moved into itself. Other mistakes are
// found by moving it.
func (s *server) checkMove(ctx context.Context, from, above Place, how []tarn.Option) error {
	moved, err := s.follow(ctx, from.Cap, from.Path, how)
	to, failed := file.Parse(above.Cap)
	if err != nil || failed != nil {
		return nil //nolint:nilerr // as is said above
	}
	way, _ := tarn.Follow(ctx, s.node, to, above.Path, how...) // what is missing is made later
	return tarn.CheckMove(moved, way)
}

// parent is the directory that a place is in, which has to be there.
func (s *server) parent(ctx context.Context, p Place, how []tarn.Option) (dir, name string, err error) {
	above, name, err := p.above()
	if err != nil {
		return "", "", err
	}
	l, err := s.follow(ctx, above.Cap, above.Path, how)
	if err != nil {
		return "", "", err
	}
	if _, ok := l.Directory(); !ok {
		return "", "", fmt.Errorf("%w: it has nothing named %q", tarn.ErrNotDirectory, name)
	}
	return l.Capability().String(), name, nil
}

// NewDirectory makes a directory that is in no other one, with these children,
// and returns its write capability.
func (c *Client) NewDirectory(ctx context.Context, format tarn.Format, children ...Child) (string, error) {
	return c.changeDirectory(ctx, pathMakeDirectory, directoryRequest{Format: format, Children: children})
}

// EnsureDirectory makes what is missing of a path, and returns the capability of
// the directory at its end.
func (c *Client) EnsureDirectory(ctx context.Context, p Place, format tarn.Format) (string, error) {
	return c.changeDirectory(ctx, pathMakeDirectory, directoryRequest{Place: p, Format: format})
}

// Link puts children into a directory, which is made if it is missing.
func (c *Client) Link(ctx context.Context, dir Place, replace tarn.Replace, children ...Child) error {
	_, err := c.changeDirectory(ctx, pathLink, directoryRequest{Place: dir, Replace: replace, Children: children})
	return err
}

// Unlink takes a name out of its directory, and returns the capability of what it
// was.
func (c *Client) Unlink(ctx context.Context, p Place) (string, error) {
	return c.changeDirectory(ctx, pathUnlink, directoryRequest{Place: p})
}

// Rename moves a name to another place.
func (c *Client) Rename(ctx context.Context, from, to Place, replace tarn.Replace) error {
	_, err := c.changeDirectory(ctx, pathRename, directoryRequest{Place: from, To: to, Replace: replace})
	return err
}

func (c *Client) changeDirectory(ctx context.Context, path string, ask directoryRequest) (string, error) {
	ask.Authority = string(c.authority)
	body, err := json.Marshal(ask)
	if err != nil {
		return "", fmt.Errorf("encode the request: %w", err)
	}
	var answer directoryAnswer
	err = c.call(ctx, http.MethodPost, path, bytes.NewReader(body), &answer)
	return answer.Cap, err
}
