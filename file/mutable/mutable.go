// Package mutable turns the versions of a mutable file into shares and shares
// into a file, in the SDMF and MDMF formats of Tahoe-LAFS 1.20: Tahoe reads
// what it writes and the other way round.
//
// A mutable file has an RSA key for life. Each version of it is signed: the
// signature covers the Prefix of its shares, which holds a sequence number, how
// the file is cut, and the root of the hash trees over all blocks. SDMF files
// are one segment, read and written whole; MDMF files are cut into segments
// that can be read and written alone.
//
// Names: Key is the private key and all that derives from it. Layout tells how
// a file is cut, Header where everything lies in a share.
//
// Writing: Encoder makes the shares of a version, from all of its segments or,
// as Update plans it, from those that a write changes and the hashes of the
// others.
//
// Reading: Share.Verify proves the version that a share claims, Best chooses
// among versions, Blocks proves the blocks of a share one by one and Decode
// gives back a segment from k of them.
//
// The package is pure: no clock, no disk, no goroutines; randomness is an
// argument. Formats: allmydata/mutable/layout.py, publish.py and retrieve.py of
// Tahoe-LAFS.
package mutable

import "errors"

// Errors that callers act on.
var (
	// ErrSize means that a file or a part of it is not as long as the layout
	// says, or is too long for the format.
	ErrSize = errors.New("wrong file size")
	// ErrKey means that a key is not an RSA key of 2048 bits, or not that of
	// the capability.
	ErrKey = errors.New("bad key of a mutable file")
	// ErrShare means that a share contradicts itself or the capability.
	ErrShare = errors.New("bad share")
	// ErrOrder means that an encoder's methods were called out of order: a bug.
	ErrOrder = errors.New("encoder used out of order")
	// ErrUnrecoverable means that no version has enough shares.
	ErrUnrecoverable = errors.New("not enough shares of any version")
)
