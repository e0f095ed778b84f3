package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
)

// mutable writes a mutable file: the one whose capability stands in the body,
// before the content and behind the authority, or a new one.
func (s *server) mutable(w http.ResponseWriter, r *http.Request) {
	result, err := s.writeMutable(r)
	if err != nil {
		reply(w, nil, err)
		return
	}
	reply(w, mutableResultOf(result), nil)
}

func (s *server) writeMutable(r *http.Request) (tarn.MutableResult, error) {
	query := r.URL.Query()
	authority, err := s.bodyAuthority(r)
	if err != nil {
		return tarn.MutableResult{}, err
	}
	capability, err := bodyPart(r, headerCap, file.MaxText)
	if err != nil {
		return tarn.MutableResult{}, err
	}
	if len(capability) > 0 {
		return s.node.Overwrite(r.Context(), string(capability), r.Body, tarn.Under(authority))
	}
	o := tarn.MutableOptions{Authority: authority, Keep: query.Get("keep") == "true"}
	if o.Format, err = tarn.ParseFormat(query.Get("format")); err != nil {
		return tarn.MutableResult{}, err
	}
	if o.PrivateKey, err = bodyPart(r, headerKey, maxKey); err != nil {
		return tarn.MutableResult{}, err
	}
	return s.node.CreateMutable(r.Context(), r.Body, o)
}

// maxKey bounds the text of a private key, in bytes.
const maxKey = 64 << 10

// bodyPart reads as many bytes of the body as a header says.
func bodyPart(r *http.Request, header string, most int64) ([]byte, error) {
	text := r.Header.Get(header)
	if text == "" {
		return nil, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return nil, fmt.Errorf("%w: %s of %q bytes", ErrRequest, header, text)
	}
	part := make([]byte, n)
	if _, err := io.ReadFull(r.Body, part); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return part, nil
}

// MutableResult is tarn.MutableResult as JSON.
type MutableResult struct {
	Cap       string           `json:"cap"`
	ReadCap   string           `json:"read_cap"`
	Size      int64            `json:"size"`
	Version   uint64           `json:"version"`
	Happiness int              `json:"happiness"`
	Placement map[int][]string `json:"placement,omitempty"`
	Unrenewed []string         `json:"unrenewed,omitempty"`
	LeftOut   []ServerError    `json:"left_out,omitempty"`
}

func mutableResultOf(r tarn.MutableResult) MutableResult {
	out := MutableResult{
		Cap: r.Cap, ReadCap: r.ReadCap, Size: r.Size, Version: r.Version.Number(), Happiness: r.Happiness,
		Placement: map[int][]string{}, Unrenewed: serverTexts(r.Unrenewed), LeftOut: serverErrorsOf(r.LeftOut),
	}
	for number, servers := range r.Placement {
		out.Placement[int(number)] = serverTexts(servers)
	}
	return out
}

// CreateMutable makes a mutable file with what r has. Of the options the authority
// is the client's.
func (c *Client) CreateMutable(ctx context.Context, r io.Reader, o tarn.MutableOptions) (MutableResult, error) {
	query := url.Values{"format": {string(o.Format)}}
	if o.Keep {
		query.Set("keep", "true")
	}
	header := http.Header{}
	if len(o.PrivateKey) > 0 {
		header.Set(headerKey, strconv.Itoa(len(o.PrivateKey)))
	}
	return c.writeMutable(ctx, query, header, io.MultiReader(bytes.NewReader(o.PrivateKey), r))
}

// Overwrite makes what r has the content of a mutable file.
func (c *Client) Overwrite(ctx context.Context, capability string, r io.Reader) (MutableResult, error) {
	header := http.Header{}
	header.Set(headerCap, strconv.Itoa(len(capability)))
	return c.writeMutable(ctx, url.Values{}, header, io.MultiReader(bytes.NewReader([]byte(capability)), r))
}

func (c *Client) writeMutable(ctx context.Context, query url.Values, header http.Header, r io.Reader) (MutableResult, error) {
	if len(c.authority) > 0 {
		header.Set(headerAuthority, strconv.Itoa(len(c.authority)))
		r = io.MultiReader(bytes.NewReader(c.authority), r)
	}
	body := &stoppable{r: r}
	response, err := c.do(ctx, http.MethodPost, pathMutable+"?"+query.Encode(), body, header)
	if input := body.failure(); input != nil {
		return MutableResult{}, fmt.Errorf("read what is to be written: %w", input)
	}
	if err != nil {
		return MutableResult{}, err
	}
	defer response.Body.Close()
	var result MutableResult
	if err := json.NewDecoder(io.LimitReader(response.Body, maxObject)).Decode(&result); err != nil {
		return MutableResult{}, brokenOff(err)
	}
	return result, nil
}
