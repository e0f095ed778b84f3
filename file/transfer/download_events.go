package transfer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-grid/tarn/grid"
)

// DownloadEvent is something that happened to a download.
type DownloadEvent interface{ downloadEvent() }

// Looked answers Look: the shares at a server that can be read, or why none.
type Looked struct {
	Server grid.ServerID
	Shares []grid.ShareNum
	Err    error
}

// Want says that a segment is to be read.
type Want struct{ Segment int }

// Got answers Fetch: the block has come and is verified.
type Got struct {
	Server  grid.ServerID
	Num     grid.ShareNum
	Segment int
}

// Missed answers Fetch: the server could not be asked or did not answer. It is
// not asked again.
type Missed struct {
	Server  grid.ServerID
	Num     grid.ShareNum
	Segment int
	Err     error
}

// Bad says that what a server gave of a share does not verify.
type Bad struct {
	Server grid.ServerID
	Num    grid.ShareNum
	Err    error
}

// Forget says that a segment is done with, or not wanted any more.
type Forget struct{ Segment int }

// Clock lets time pass.
type Clock struct{}

func (Looked) downloadEvent() {}
func (Want) downloadEvent()   {}
func (Got) downloadEvent()    {}
func (Missed) downloadEvent() {}
func (Bad) downloadEvent()    {}
func (Forget) downloadEvent() {}
func (Clock) downloadEvent()  {}

// DownloadEffect is something to be done for a download.
type DownloadEffect interface{ downloadEffect() }

// Look asks a server which shares it holds. Answered by Looked.
type Look struct{ Server grid.ServerID }

// Switch says that the next Fetch of a share is for another server's copy:
// what was learned of the one before is to be forgotten.
type Switch struct{ Num grid.ShareNum }

// Fetch asks for the block of one segment, with the hashes that prove it.
// Answered by Got, Missed or Bad.
type Fetch struct {
	Server  grid.ServerID
	Num     grid.ShareNum
	Segment int
}

// Decode says that a segment has k blocks. Forget follows when it is done.
type Decode struct{ Segment int }

// GiveUp ends the download.
type GiveUp struct{ Err *NotEnoughShares }

func (Look) downloadEffect()   {}
func (Switch) downloadEffect() {}
func (Fetch) downloadEffect()  {}
func (Decode) downloadEffect() {}
func (GiveUp) downloadEffect() {}

// NotEnoughShares says that the file can't be read now: fewer than Needed
// different good shares are on the servers that could be asked.
type NotEnoughShares struct {
	Needed, Found, Asked int
	Reasons              map[grid.ServerID]error
}

// Error is a sentence with the numbers and what each failing server said.
func (e *NotEnoughShares) Error() string {
	s := fmt.Sprintf("not enough good shares: %d needed, %d found on %d connected servers", e.Needed, e.Found, e.Asked)
	var why []string
	for id, err := range e.Reasons {
		why = append(why, id.Short()+": "+err.Error())
	}
	slices.Sort(why)
	if len(why) > 0 {
		s += " (" + strings.Join(why, "; ") + ")"
	}
	return s
}
