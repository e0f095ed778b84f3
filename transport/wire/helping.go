package wire

import "github.com/tarn-grid/tarn/grid"

// AskHelp asks a helper to encode a file and to place its shares. Answered by
// Helped or Error; a Helped comes again, as a notice, while the helper works on
// it and when it is done, and an Error as a notice where it can't be done.
type AskHelp struct {
	// Job is a secret of the file: who asks again with it goes on where the
	// upload was.
	Job          Secret            `cbor:"1,keyasint"`
	StorageIndex grid.StorageIndex `cbor:"2,keyasint"`
	Size         uint64            `cbor:"3,keyasint"` // of the ciphertext, bytes
	// Needed, Happy, Total and SegmentSize are the encoding parameters.
	Needed      uint   `cbor:"4,keyasint"`
	Happy       uint   `cbor:"5,keyasint"`
	Total       uint   `cbor:"6,keyasint"`
	SegmentSize uint64 `cbor:"7,keyasint"`
	// Anew has the helper forget what it has of the job.
	Anew bool `cbor:"8,keyasint,omitempty"`
	// Chains let the helper store, one for each server that may be used
	// (lease.DecodeChain).
	Chains [][]byte `cbor:"9,keyasint"`
}

// HelpData is a part of the ciphertext, in the body. Parts come in order.
// Answered by Helped or Error.
type HelpData struct {
	Offset uint64 `cbor:"1,keyasint"`
}

// HelpState says how far a job is.
type HelpState uint

// The states.
const (
	HelpWants  HelpState = 1 // more of the ciphertext
	HelpPlaces HelpState = 2 // all of it is here, and is encoded and placed
	HelpDone   HelpState = 3 // the shares are stored
)

// Helped says how far a job is. The answer to a HelpData has in Have where that
// part ended.
type Helped struct {
	State HelpState `cbor:"1,keyasint"`
	// Have is how many bytes of the ciphertext are here.
	Have uint64 `cbor:"2,keyasint,omitempty"`
	// UEBHash of the file, and how many shares were stored and how many were
	// there before, once it is done.
	UEBHash [32]byte `cbor:"3,keyasint"`
	Pushed  uint     `cbor:"4,keyasint,omitempty"`
	Found   uint     `cbor:"5,keyasint,omitempty"`
	// Placed is how many bytes were encoded to be placed, those counted again
	// that were encoded again for servers that failed.
	Placed uint64 `cbor:"6,keyasint,omitempty"`
}

// Kind of an AskHelp.
func (m *AskHelp) Kind() Kind { return KindAskHelp }

// Kind of a HelpData.
func (m *HelpData) Kind() Kind { return KindHelpData }

// Kind of a Helped.
func (m *Helped) Kind() Kind { return KindHelped }

// Validate bounds sizes and chains; what those say is lease's business, and
// whether the parameters make sense is file's.
func (m *AskHelp) Validate() error {
	if err := checkSize("ciphertext", m.Size); err != nil {
		return err
	}
	if err := checkSize("segment", m.SegmentSize); err != nil {
		return err
	}
	if m.Needed > grid.MaxShares || m.Happy > grid.MaxShares || m.Total > grid.MaxShares {
		return malformed("more than %d shares", grid.MaxShares)
	}
	if n := len(m.Chains); n == 0 || n > MaxHelpChains {
		return malformed("%d chains, want 1 to %d", n, MaxHelpChains)
	}
	total := 0
	for _, c := range m.Chains {
		if err := checkBytes("chain", c, 1, MaxChain); err != nil {
			return err
		}
		total += len(c)
	}
	if total > MaxHelpChainBytes {
		return malformed("chains of %d bytes, at most %d", total, MaxHelpChainBytes)
	}
	return nil
}

// Validate bounds the offset.
func (m *HelpData) Validate() error { return checkSize("offset", m.Offset) }

// Validate refuses unknown states.
func (m *Helped) Validate() error {
	if m.State < HelpWants || m.State > HelpDone {
		return malformed("state %d of a helper's job", m.State)
	}
	if m.Pushed > MaxFoundShares*MaxFoundShares || m.Found > MaxFoundShares*MaxFoundShares {
		return malformed("more shares than a file can have")
	}
	if err := checkSize("ciphertext", m.Have); err != nil {
		return err
	}
	return checkSize("encoded ciphertext", m.Placed)
}
