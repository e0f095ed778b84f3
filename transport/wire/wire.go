// Package wire holds every object that crosses the network: its struct,
// encoding, decoding, largest size and validation side by side, and the error
// codes. A frame is a small CBOR head (type, request id, message) and an
// optional body of raw bytes, so that bulk data is never copied into CBOR.
//
// Decoding never trusts: unknown fields are ignored, sizes are bounded before
// anything is allocated, and a message that does not validate never leaves
// this package. The package knows no network, no clock and no goroutine.
package wire

import (
	"github.com/tarn-grid/tarn/grid"
)

// Version of the protocols named /tarn/1/….
const Version = 1

// Frame is one unit of a conversation.
type Frame struct {
	// ID ties an answer to its request; 0 is for notices that want none. Each
	// side numbers its own requests from 1.
	ID uint64
	// Answer says that ID is the other side's: this is a reply.
	Answer bool
	// Message says what it is; never nil.
	Message Message
	// Body is bulk data. On sending it may be in several parts, which are
	// written one after the other; on receipt it is one part.
	Body [][]byte
	// release gives Body's buffers back.
	release func()
}

// WithBody returns f carrying body; release (may be nil) is called once when
// nobody needs the buffers any more.
func (f Frame) WithBody(release func(), parts ...[]byte) Frame {
	f.Body, f.release = parts, release
	return f
}

// Bytes is the received body, nil if there was none. It is valid until
// Release.
func (f Frame) Bytes() []byte {
	if len(f.Body) == 0 {
		return nil
	}
	return f.Body[0]
}

// BodySize is the number of bytes in all parts of the body.
func (f Frame) BodySize() int {
	n := 0
	for _, p := range f.Body {
		n += len(p)
	}
	return n
}

// Release gives the body's buffers back. It may be called once; the body must
// not be touched afterwards.
func (f Frame) Release() {
	if f.release != nil {
		f.release()
	}
}

// Message is one of the objects of this package.
type Message interface {
	// Kind is the type code on the wire.
	Kind() Kind
	// Validate refuses values out of bounds.
	Validate() error
}

// Range is a part of a share body, in bytes.
type Range struct {
	_      struct{} `cbor:",toarray"`
	Offset uint64
	Length uint64
}

// Hello opens a storage or introduction conversation, in both directions. A
// client's hello is the same for every client: it tells nothing.
type Hello struct {
	Version  uint     `cbor:"1,keyasint"`
	Features []string `cbor:"2,keyasint,omitempty"`
	// MaxBody is the largest body that the sender takes, in bytes.
	MaxBody uint64 `cbor:"3,keyasint"`
	// MaxRequests is how many unanswered requests the sender takes at a time.
	MaxRequests uint `cbor:"4,keyasint"`
}

// Login asks for a reference: a certificate chain and a request signed by the
// key at its end, both in lease's encoding. Answered by LoggedIn or Error.
type Login struct {
	Chain   []byte `cbor:"1,keyasint,omitempty"`
	Request []byte `cbor:"2,keyasint"`
}

// Resume logs in with a reference that an earlier Login returned. Answered by
// LoggedIn (with a new reference when the old one nears its end) or Error.
type Resume struct {
	Reference []byte `cbor:"1,keyasint"`
}

// LoginWithoutKey asks to store for the column of clients without a key, where
// the operator has enabled that. Answered by LoggedIn, without a reference and
// with the zero label, or Error.
type LoginWithoutKey struct{}

// LoggedIn tells what the connection may now do.
type LoggedIn struct {
	Reference  []byte         `cbor:"1,keyasint"`
	Expires    int64          `cbor:"2,keyasint"` // Unix seconds
	Label      grid.PublicKey `cbor:"3,keyasint"`
	Operations uint           `cbor:"4,keyasint"` // lease.Operation bits that the chain leaves
}

// Find asks which shares of a file are here. With Ranges, the bytes of those
// ranges come with the answer, cut at the share's end, for as many shares as
// the server likes: all ranges of a share or none.
type Find struct {
	StorageIndex grid.StorageIndex `cbor:"1,keyasint"`
	Ranges       []Range           `cbor:"2,keyasint,omitempty"`
}

// Found answers Find. Body: the ranges of the first share, then of the next.
type Found struct {
	Shares []FoundShare `cbor:"1,keyasint,omitempty"`
	// Room is the largest share, in bytes, that an upload by this connection's
	// account could store now; 0 before login or when full.
	Room uint64 `cbor:"2,keyasint,omitempty"`
}

// FoundShare is a share that a server holds.
type FoundShare struct {
	_       struct{} `cbor:",toarray"`
	Num     grid.ShareNum
	Size    uint64   // of the share body, bytes
	UEBHash [32]byte // as verified when it was stored
	// Lengths of each range in the body; empty when no bytes were sent.
	Lengths []uint64
}

// Read asks for parts of one share. Answered by Data or Error.
type Read struct {
	StorageIndex grid.StorageIndex `cbor:"1,keyasint"`
	Num          grid.ShareNum     `cbor:"2,keyasint"`
	Ranges       []Range           `cbor:"3,keyasint"`
}

// Data answers Read, ReadOffer: the bytes of each range, cut at the share's
// end, one after the other in the body.
type Data struct {
	Lengths []uint64 `cbor:"1,keyasint"`
}

// Allocate offers one share. If the body is not empty it is the beginning of
// the share (all of it, for a small one), so that nothing need be pulled. The
// server answers Allocated; when it takes the share but lacks bytes it opens a
// Pull conversation and reads the offer named by Secret. With IfNone a server
// that holds any share of the file takes nothing and answers Found instead, as
// if it had been asked to Find.
type Allocate struct {
	StorageIndex grid.StorageIndex `cbor:"1,keyasint"`
	Num          grid.ShareNum     `cbor:"2,keyasint"`
	Size         uint64            `cbor:"3,keyasint"` // of the share body, bytes
	Secret       Secret            `cbor:"4,keyasint"`
	IfNone       bool              `cbor:"5,keyasint,omitempty"`
	// Window is how many bytes beyond those that it holds the server may ask
	// for: what the client keeps encoded. 0 is no bound.
	Window uint64 `cbor:"6,keyasint,omitempty"`
	// Others are servers to which this one may pass the share on; it then
	// answers PassedOn.
	Others []Other `cbor:"8,keyasint,omitempty"`
	// Standing makes nothing happen, but that the server, which answers Done,
	// takes the share when another one passes it on with this Secret.
	Standing bool `cbor:"9,keyasint,omitempty"`
}

// Secret is an unguessable name for one share reader at one server.
type Secret [16]byte

// Allocated answers Allocate.
type Allocated struct {
	State AllocationState `cbor:"1,keyasint"`
	// UEBHash of the share, when it is Stored or AlreadyHere.
	UEBHash [32]byte `cbor:"2,keyasint"`
	// Have is how many bytes the server has of a Coming share, an upload that
	// goes on after a lost connection included.
	Have uint64 `cbor:"3,keyasint,omitempty"`
}

// AllocationState says what became of an offered share.
type AllocationState uint8

// The states.
const (
	Coming      AllocationState = 1 // taken; the server pulls it and sends Stored
	NowStored   AllocationState = 2 // verified, durable, leased, from the bytes that rode along
	AlreadyHere AllocationState = 3 // it was here, perhaps of another content; no lease was made
)

// Stored is a notice (no answer): the pull that Allocate began has ended. Code
// is 0 when the share is verified, durable and leased; or when another upload
// was first with another content, which UEBHash tells and no lease was made on.
type Stored struct {
	StorageIndex grid.StorageIndex `cbor:"1,keyasint"`
	Num          grid.ShareNum     `cbor:"2,keyasint"`
	UEBHash      [32]byte          `cbor:"3,keyasint"`
	Code         Code              `cbor:"4,keyasint,omitempty"`
	Text         string            `cbor:"5,keyasint,omitempty"`
}

// Abandon gives up an allocation of this account; its bytes are free again.
// Answered by Done.
type Abandon struct {
	StorageIndex grid.StorageIndex `cbor:"1,keyasint"`
	Num          grid.ShareNum     `cbor:"2,keyasint"`
}

// AddLease puts this account's lease on shares that are here (all numbers of
// the file when Nums is empty). Answered by Leased or Error.
type AddLease struct {
	StorageIndex grid.StorageIndex `cbor:"1,keyasint"`
	Nums         []grid.ShareNum   `cbor:"2,keyasint,omitempty"`
	// UEBHash is the only content to be leased, so that nobody pays for another
	// one that was stored first; zero is any.
	UEBHash [32]byte `cbor:"3,keyasint"`
}

// RenewLease moves the end of this account's leases. Answered by Leased.
type RenewLease struct {
	StorageIndexes []grid.StorageIndex `cbor:"1,keyasint"`
}

// Leased answers AddLease and RenewLease: how many leases were made or moved,
// and the earliest end among them.
type Leased struct {
	Count   uint  `cbor:"1,keyasint"`
	Expires int64 `cbor:"2,keyasint"` // Unix seconds
}

// Usage asks what the account holds here. Answered by UsageReport.
type Usage struct{}

// UsageReport is one column of the lease table, in bytes as charged.
type UsageReport struct {
	Label      grid.PublicKey `cbor:"1,keyasint"`
	Bytes      uint64         `cbor:"2,keyasint"`
	Shares     uint64         `cbor:"3,keyasint"`
	Reserved   uint64         `cbor:"4,keyasint"` // uploads in flight
	Quota      uint64         `cbor:"5,keyasint"` // of the root; 0 with HasQuota false
	HasQuota   bool           `cbor:"6,keyasint"`
	RootBytes  uint64         `cbor:"7,keyasint"` // charged against that quota
	BytesIn    uint64         `cbor:"8,keyasint"` // today, UTC
	BytesOut   uint64         `cbor:"9,keyasint"`
	RootShares uint64         `cbor:"10,keyasint"`
}

// Done answers what has no other answer.
type Done struct{}

// OpenOffer is the first frame of a Pull conversation: which offer it reads.
// No answer; a wrong secret ends the conversation.
type OpenOffer struct {
	Secret Secret `cbor:"1,keyasint"`
}

// ReadOffer asks the client for bytes of the offered share. Answered by Data
// (exactly Length bytes, when the encoder has come so far) or Error.
type ReadOffer struct {
	Offset uint64 `cbor:"1,keyasint"`
	Length uint64 `cbor:"2,keyasint"`
	// Have is how many bytes of the share, from its beginning, the server
	// holds: the client need not keep those, whatever happens to the link.
	Have uint64 `cbor:"3,keyasint,omitempty"`
}

// Publish gives an introducer a signed announcement. Answered by Done or
// Error.
type Publish struct {
	Announcement []byte `cbor:"1,keyasint"` // SignedAnnouncement
}

// Subscribe asks an introducer for all announcements, now and as they come,
// as Announce notices. Answered by Done, after those that are known now.
type Subscribe struct{}

// Announce is a notice that carries one announcement, as it was published.
type Announce struct {
	Announcement []byte `cbor:"1,keyasint"`
}

// Error answers a request that was not carried out.
type Error struct {
	Code Code `cbor:"1,keyasint"`
	// Text is a sentence for people, without secrets.
	Text string `cbor:"2,keyasint,omitempty"`
	// Limit names the restriction behind NotPermitted, such as max-size.
	Limit string `cbor:"3,keyasint,omitempty"`
	// Free bytes below the quota, with OverQuota where the chain has
	// read-usage.
	Free *uint64 `cbor:"4,keyasint,omitempty"`
}
