package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tarn-grid/tarn/web/control"
)

const placeHelp = `A PLACE is a capability, a capability with a path behind it (CAP/photos), or a path
from an alias (ALIAS:photos); without any it is the alias ` + defaultAlias + `.

`

// reachable is a place with all that can be reached from it.
type reachable struct {
	node   *control.Client
	folder folder
	place  control.Place
}

// reachable finds what is meant by a place; who asks for it closes the node.
func (e *env) reachable(where, authority string) (reachable, error) {
	if where == "-" && authority == "-" {
		return reachable{}, usageError{err: errors.New("standard input can be only one of capability and authority")}
	}
	n, f, err := e.node()
	if err != nil {
		return reachable{}, err
	}
	at, err := e.place(f, where)
	if err == nil {
		n, err = e.under(n, authority)
	}
	return reachable{n, f, at.is()}, err
}

// manyPlaces is several errors of places, in one line.
type manyPlaces []error

func (m manyPlaces) Error() string {
	texts := make([]string, len(m))
	for i, err := range m {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (m manyPlaces) Unwrap() []error { return m }

// eachPlace does something with one place after the other, though it fails with some,
// and says, as head does, which one it is before what is written of it, if there are
// several and people read it.
func (e *env) eachPlace(ctx context.Context, places []string, forPrograms bool, do func(place string) error) error {
	if len(places) < 2 {
		return do(strings.Join(places, ""))
	}
	var failed manyPlaces
	input := false
	for i, place := range places {
		if place == "-" && input {
			return usageError{err: errors.New("standard input can be only one of the places")}
		}
		input = input || place == "-"
		title := shownName(place)
		if place == "-" || isCapability(place) { // is nobody's who looks over the shoulder
			title = fmt.Sprintf("place %d", i+1)
		}
		if !forPrograms {
			if err := e.print("==> %s <==\n", title); err != nil {
				return err
			}
		}
		if err := do(place); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", strings.TrimSuffix(title, ":"), err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	if failed == nil {
		return nil
	}
	return failed
}
