package tahoe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrNode means that a text does not describe an object.
var ErrNode = errors.New("not the description of a file or directory")

// Object is a description that was read.
type Object struct {
	Kind string // File, Directory, or anything else
	Node
	// Children are those of a directory by name; nil for a child itself.
	Children map[string]Object
}

// Read reads what WriteNode and WriteDirectory write, or Tahoe-LAFS.
func Read(r io.Reader) (Object, error) {
	var o Object
	if err := json.NewDecoder(r).Decode(&o); err != nil {
		return Object{}, fmt.Errorf("%w: %w", ErrNode, err)
	}
	return o, nil
}

// UnmarshalJSON reads the list of two.
func (o *Object) UnmarshalJSON(text []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("%w: a list of %d", ErrNode, len(pair))
	}
	if err := json.Unmarshal(pair[0], &o.Kind); err != nil {
		return err
	}
	var body struct {
		Node
		Children map[string]Object `json:"children"`
	}
	if err := json.Unmarshal(pair[1], &body); err != nil {
		return err
	}
	o.Node, o.Children = body.Node, body.Children
	return nil
}
