package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
)

// Put stores what r has. Progress, if any, is called from this goroutine.
func (c *Client) Put(ctx context.Context, r io.Reader, o PutOptions) (PutResult, error) {
	header := http.Header{}
	if o.Size >= 0 {
		header.Set(headerSize, strconv.FormatInt(o.Size, 10))
	}
	if len(c.authority) > 0 {
		header.Set(headerAuthority, strconv.Itoa(len(c.authority)))
		r = io.MultiReader(bytes.NewReader(c.authority), r)
	}
	body := &stoppable{r: r}
	response, err := c.do(ctx, http.MethodPost, pathPut+"?"+queryOf(o).Encode(), body, header)
	if input := body.failure(); input != nil {
		return PutResult{}, fmt.Errorf("read what is to be stored: %w", input)
	}
	if err != nil {
		return PutResult{}, err
	}
	defer response.Body.Close()
	defer body.stop()
	result, err := readEvents[PutResult](response.Body, o.Progress)
	if input := body.failure(); err != nil && input != nil {
		return PutResult{}, fmt.Errorf("read what is to be stored: %w", input)
	}
	if err != nil && ctx.Err() != nil {
		return PutResult{}, context.Cause(ctx)
	}
	return result, err
}

func readEvents[R any](r io.Reader, progress func(done, total int64)) (result R, err error) {
	lines := json.NewDecoder(r)
	for {
		var event progressEvent[R]
		if err := lines.Decode(&event); err != nil {
			return result, brokenOff(err)
		}
		switch {
		case event.Error != nil:
			return result, event.Error.err()
		case event.Result != nil:
			return *event.Result, nil
		case progress != nil:
			progress(event.Done, event.Total)
		}
	}
}

// stoppable is a request's body that ends early once the answer is there, and
// remembers why it failed.
type stoppable struct {
	r       io.Reader
	stopped atomic.Bool
	err     atomic.Pointer[error]
}

func (s *stoppable) Read(p []byte) (int, error) {
	if s.stopped.Load() {
		return 0, io.EOF
	}
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err.Store(&err)
	}
	return n, err
}

func (s *stoppable) stop() { s.stopped.Store(true) }

func (s *stoppable) failure() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Get is a file on its way from the node.
type Get struct {
	// Size is how many bytes are to come; negative where nobody says.
	Size int64

	ctx      context.Context
	response *http.Response
}

// Get asks for length bytes of a file from offset on; a negative length means
// to its end. The file is what the path leads to from the capability, which
// travels in the request's body. Close the result.
func (c *Client) Get(ctx context.Context, capability string, offset, length int64, path ...string) (*Get, error) {
	ask, err := json.Marshal(getRequest{Cap: capability, Path: path, Offset: offset, Length: length, Authority: string(c.authority)})
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	g, err := c.get(ctx, pathGet, bytes.NewReader(ask))
	if err != nil {
		return nil, err
	}
	if g.Size < 0 {
		g.Close()
		return nil, fmt.Errorf("%w: an answer without a size", ErrBrokenOff)
	}
	return g, nil
}

// get asks for what is bytes, and perhaps does not say how many.
func (c *Client) get(ctx context.Context, path string, ask io.Reader) (*Get, error) {
	response, err := c.do(ctx, http.MethodPost, path, ask, nil) //nolint:bodyclose // Get.Close does
	if err != nil {
		return nil, err
	}
	size, err := strconv.ParseInt(response.Header.Get(headerSize), 10, 64)
	if err != nil {
		size = -1
	}
	return &Get{Size: size, ctx: ctx, response: response}, nil
}

// WriteTo writes the bytes to w. Without an error they are all that was asked
// for; with one, what was written is a true beginning.
func (g *Get) WriteTo(w io.Writer) (int64, error) {
	out := &outcome{w: w}
	n, err := io.CopyBuffer(out, struct{ io.Reader }{g.response.Body}, make([]byte, 256<<10))
	switch {
	case out.err != nil:
		return n, fmt.Errorf("%w: %w", ErrOutput, out.err)
	case g.ctx.Err() != nil:
		return n, context.Cause(g.ctx)
	case err != nil:
		return n, brokenOff(err)
	}
	return n, g.ending(n)
}

// ending reads the trailers, without which nothing is known to be whole.
func (g *Get) ending(n int64) error {
	code := g.response.Trailer.Get(trailerCode)
	switch {
	case code == "":
		return fmt.Errorf("%w: no word on whether the file is whole", ErrBrokenOff)
	case code != codeOK:
		return (&errorObject{Code: code, Message: g.response.Trailer.Get(trailerError)}).err()
	case g.Size >= 0 && n != g.Size:
		return fmt.Errorf("%w: %d bytes of %d", ErrBrokenOff, n, g.Size)
	}
	return nil
}

// Close gives up what has not been read.
func (g *Get) Close() {
	_ = g.response.Body.Close() // nothing more of it is wanted
}

// outcome keeps the writer's errors apart from the reader's.
type outcome struct {
	w   io.Writer
	err error
}

func (o *outcome) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.err = err
	}
	return n, err
}
