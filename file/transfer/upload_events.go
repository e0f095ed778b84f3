package transfer

import (
	"github.com/tarn-grid/tarn/grid"
)

// UploadEvent is something that happened to an upload.
type UploadEvent interface{ uploadEvent() }

// Holds answers Ask, and Try where it is refused: the shares that the server holds, with the UEB hash of
// each, and the largest share that it would take now, in bytes.
type Holds struct {
	Server grid.ServerID
	Shares map[grid.ShareNum][32]byte
	Room   uint64
}

// NoAnswer says that an Ask failed.
type NoAnswer struct {
	Server grid.ServerID
	Err    error
}

// Taken answers Offer and Try. Stored is false when the server now pulls.
type Taken struct {
	Server  grid.ServerID
	Num     grid.ShareNum
	Stored  bool
	UEBHash [32]byte // when Stored
}

// Here answers Offer and Try where the server has such a share already, perhaps
// of another content. No lease was made on it.
type Here struct {
	Server  grid.ServerID
	Num     grid.ShareNum
	UEBHash [32]byte
}

// Leased answers Lease.
type Leased struct {
	Server grid.ServerID
	Num    grid.ShareNum
}

// Refused answers Offer, Lease and Try. LinkLost says that the connection broke,
// so that the answer is not known.
type Refused struct {
	Server   grid.ServerID
	Num      grid.ShareNum
	LinkLost bool
	Err      error
}

// PassedOn answers Offer: the server would rather not, and says that another
// one, to which it was allowed to pass the share on, pulls it now. If it is
// offered again, it is not allowed to.
type PassedOn struct {
	Server grid.ServerID
	Num    grid.ShareNum
	To     grid.ServerID
}

// Moving says that the server asked for more of a share, and how many bytes
// of it from the beginning it holds.
type Moving struct {
	Server grid.ServerID
	Num    grid.ShareNum
	Have   uint64
}

// Owed says that the server waits for bytes that it has asked for: that they
// are late is not its fault.
type Owed struct {
	Server grid.ServerID
	Num    grid.ShareNum
}

// Kept ends a pull: the share is verified, durable and leased, or Err says
// why not.
type Kept struct {
	Server  grid.ServerID
	Num     grid.ShareNum
	UEBHash [32]byte
	Err     error
}

// LinkDown says that the connection to a server broke and all that was
// unanswered on it is lost.
type LinkDown struct{ Server grid.ServerID }

// LinkUp says that the connection is there again and logged in.
type LinkUp struct{ Server grid.ServerID }

// Encoded says that the encoder has come to the end of the file.
type Encoded struct{ UEBHash [32]byte }

// Tick lets time pass.
type Tick struct{}

func (Holds) uploadEvent()    {}
func (NoAnswer) uploadEvent() {}
func (Taken) uploadEvent()    {}
func (Here) uploadEvent()     {}
func (Leased) uploadEvent()   {}
func (Refused) uploadEvent()  {}
func (PassedOn) uploadEvent() {}
func (Moving) uploadEvent()   {}
func (Owed) uploadEvent()     {}
func (Kept) uploadEvent()     {}
func (LinkDown) uploadEvent() {}
func (LinkUp) uploadEvent()   {}
func (Encoded) uploadEvent()  {}
func (Tick) uploadEvent()     {}

// UploadEffect is something to be done for an upload.
type UploadEffect interface{ uploadEffect() }

// Ask a server what it holds of the file. Answered by Holds or NoAnswer.
type Ask struct{ Server grid.ServerID }

// Try a share at a server that is to keep it only if it holds nothing of the
// file: Ask and Offer in one. Answered by Taken, Here, Refused, or Holds.
type Try struct {
	Server grid.ServerID
	Num    grid.ShareNum
}

// Offer a share to a server; again, when the connection was lost meanwhile.
// Answered by Taken, Here or Refused, and by Kept later if it was taken to be
// pulled.
type Offer struct {
	Server grid.ServerID
	Num    grid.ShareNum
}

// Lease a share that a server holds already, which is known to be this file's.
// Answered by Leased or Refused.
type Lease struct {
	Server grid.ServerID
	Num    grid.ShareNum
}

// Withdraw what was offered: no answer is wanted.
type Withdraw struct {
	Server grid.ServerID
	Num    grid.ShareNum
}

// Encode runs over the whole file for the shares that are coming. Answered by
// Encoded.
type Encode struct{}

// Finished ends an upload that succeeded.
type Finished struct {
	// Placement says which servers hold which share.
	Placement map[grid.ShareNum][]grid.ServerID
	// Pushed were stored by this upload, Found were there.
	Pushed, Found int
	Happiness     int
	// Reasons are why servers got nothing more, in a repair.
	Reasons map[grid.ServerID]error
}

// Failed ends an upload that did not; Reasons say why each server that was
// given up was.
type Failed struct {
	Err     error
	Reasons map[grid.ServerID]error
}

func (Ask) uploadEffect()      {}
func (Try) uploadEffect()      {}
func (Offer) uploadEffect()    {}
func (Lease) uploadEffect()    {}
func (Withdraw) uploadEffect() {}
func (Encode) uploadEffect()   {}
func (Finished) uploadEffect() {}
func (Failed) uploadEffect()   {}
