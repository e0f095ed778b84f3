// Package clause is how this node connects to each server. A file of clauses
// has one for each, in two parts: local says how we connect to it, announcement
// is what the server says of itself.
//
// Parse reads such a file, Format writes one; Overrides is the one that the user
// writes, with what was good of it before; Rules.Merge is what comes of the
// node's own settings, the newest announcement and the user's clause. All of it
// is a function of its arguments.
//
// Promises: a mistake costs the clause that it is in, and no other; it is told
// with its line and the reason. A server whose clause has a mistake is treated
// as before that, or not connected to: never as if it had no clause, which might
// be looser than what its owner meant. Without a clause of the user's nothing is
// looser than the node's settings.
package clause

import (
	"fmt"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport"
)

// Clause is what a file says of one server. What is empty or nil it does not
// say.
type Clause struct {
	Server grid.ServerID
	Line   int // where it begins, from 1 on
	// Ignore is whether the server is not to be used at all.
	Ignore bool
	// Connections say for kinds of address how they are dialled.
	Connections map[transport.Kind]transport.Way
	Punch       *bool
	// Petname is the user's name for the server.
	Petname string
	// Nickname and Addresses stand in the place of what the server announced.
	Nickname  string
	Addresses []grid.Hint
	// Signed is an announcement as the server signed it, which was verified, and
	// Announcement what it says.
	Signed       []byte
	Announcement *grid.Announcement
	// Heard is when an introducer last said so, Used about when this node was last
	// connected to the server; zero is never.
	Heard, Used time.Time
}

// Mistake is what is wrong with a file, and what it costs.
type Mistake struct {
	Line   int           // from 1 on; 0 is the whole file
	Server grid.ServerID // whose clause it is in; zero if that can't be told
	Reason string
}

// Error is the line and the reason.
func (m Mistake) Error() string {
	if m.Line == 0 {
		return m.Reason
	}
	return fmt.Sprintf("line %d: %s", m.Line, m.Reason)
}

// Bounds of what people write.
const (
	// MaxPetname is in bytes.
	MaxPetname = 64
	// MaxOverrides is the largest file that the user writes, in bytes.
	MaxOverrides = 1 << 20
)
