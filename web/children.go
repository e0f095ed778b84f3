package web

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/directory"
)

// childProperties are those of a child that the body of a request describes, in the form of
// "children" in Tahoe's JSON: {"name": ["filenode", {"rw_uri": ..., "ro_uri":
// ..., "metadata": {...}}]}. The type, and what else is there, does not matter.
type childProperties struct {
	Write    *string         `json:"rw_uri"`
	Read     *string         `json:"ro_uri"`
	Metadata json.RawMessage `json:"metadata"`
}

var errChildren = badRequest(`The children can't be read. They are a JSON object: {"NAME": ["filenode", {"ro_uri": CAP, "metadata": {}}]}.`)

var errTooMany = wrong{http.StatusRequestEntityTooLarge, "These are too many children for one request."}

// readChildren reads children in the order in which they come; of two with one
// name the later counts. What was read is not kept besides.
func readChildren(r io.Reader) ([]directory.Entry, error) {
	body := &boundedBody{r: r, left: maxChildren}
	all, err := parseChildren(json.NewDecoder(body))
	if body.err != nil {
		err = body.err
	}
	if err != nil {
		// Many a client looks for an answer when it has sent all.
		_, _ = io.Copy(io.Discard, io.LimitReader(r, maxChildren))
		return nil, err
	}
	return all, nil
}

// boundedBody ends where a request's body breaks off or is too long, and keeps why.
type boundedBody struct {
	r    io.Reader
	left int
	err  error
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	switch b.left -= n; {
	case b.left < 0:
		b.err = errTooMany
	case err != nil && !errors.Is(err, io.EOF):
		b.err = badRequest("The children broke off.")
	default:
		return n, err
	}
	return 0, b.err
}

func parseChildren(in *json.Decoder) ([]directory.Entry, error) {
	switch t, err := in.Token(); {
	case errors.Is(err, io.EOF): // there is nothing but space
		return nil, nil
	case err != nil || t != json.Delim('{'):
		return nil, errChildren
	}
	var all []directory.Entry
	for in.More() {
		if len(all) == maxChildrenMany {
			return nil, errTooMany
		}
		t, err := in.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errChildren
		}
		c, err := readChild(in)
		if err != nil {
			return nil, err
		}
		c.Name = name
		all = append(all, c)
	}
	if _, err := in.Token(); err != nil {
		return nil, errChildren
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return nil, errChildren
	}
	return all, nil
}

func readChild(in *json.Decoder) (directory.Entry, error) {
	var pair []json.RawMessage
	var p childProperties
	if err := in.Decode(&pair); err != nil || len(pair) != 2 {
		return directory.Entry{}, errChildren
	}
	if err := json.Unmarshal(pair[1], &p); err != nil {
		return directory.Entry{}, errChildren
	}
	var c directory.Entry
	var err error
	if c.Write, err = optionalCapability(p.Write); err != nil {
		return c, err
	}
	if c.Read, err = optionalCapability(p.Read); err != nil {
		return c, err
	}
	if c.Capability() == nil {
		c.Read = file.Unknown{} // as Tahoe has it: a name with metadata
	}
	if string(p.Metadata) != "null" {
		c.Metadata = directory.Metadata(p.Metadata)
	}
	return c, nil
}

func optionalCapability(text *string) (file.Capability, error) {
	if text == nil || *text == "" {
		return nil, nil
	}
	return parseCapability(*text)
}
