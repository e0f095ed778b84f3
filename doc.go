// Package tarn is the Go interface to a Tarn grid: open a node, store a file, get
// it back by its capability, keep files in directories, see who stores how much.
// Commands, the web gateway, WebDAV, SFTP and other people's programs use this
// package, the nouns that it speaks of (packages file, lease and grid), and nothing
// below it.
//
// # A node
//
// A [Node] is one running node with the roles that its [Config] switches on: a
// client stores and reads, a storage server keeps shares, an introducer tells
// clients of servers, and there are others. Most programs want one client:
//
//	node, err := tarn.Open(ctx, tarn.Config{
//		Dir:         dir, // the node's own folder
//		Introducers: []tarn.IntroducerRef{ref},
//		Client:      &tarn.ClientConfig{Params: file.DefaultParams(), Account: account},
//	})
//
// All methods are safe for concurrent use and give up when their context ends.
// What is acknowledged is durable. Errors say what happened in a sentence; those
// that a program acts on are variables of this package, to be found with errors.Is.
//
// # Files and capabilities
//
// [Node.Put] stores what it reads, encrypted and cut into shares, any few of which
// give it back. What it returns is the file's capability: a short text that names
// the file, and without which nobody can find or read it. It is a secret; keep it
// as one. What is stored so can't change, and [Node.Open] gives what was stored or
// an error, never anything else.
//
// A [File] that is open yields ranges of itself. [NewReader] reads it as Go programs
// read files: it is an io.Reader, io.ReaderAt and io.Seeker, and holds little of it
// in memory however long it is.
//
// # Mutable files
//
// [Node.CreateMutable] makes a file that can change, and returns two capabilities:
// who has Cap reads and writes, who has ReadCap reads. [Node.Overwrite] replaces
// the content, [Node.WriteAt] and [Node.Append] parts of it. Where several write,
// use [Node.Modify], which begins anew when somebody else was faster, or give
// [Onto] the [Version] that was read: the write then changes that one, or fails with
// ErrConflict.
//
// # Directories
//
// A directory has names for capabilities. [Node.MakeDirectory] makes one that can
// change, [Node.StoreDirectory] one that can't. [Node.Link], [Node.Unlink] and
// [Node.Rename] change one, [Node.EditDirectory] makes any change in one write,
// [Node.List] says what is in one. Who can only read a directory gets only what can
// read from it, all the way down.
//
// [Node.Lookup] and [Follow] go along a path, [Walk] visits all that can be reached
// from a directory, once each. [Node.FS] shows a directory as a file system of
// package io/fs, for whatever takes one.
//
// # Credentials
//
// Servers store for accounts. A client has an account of its own
// (ClientConfig.Account), which each server's operator has accepted or whose owner
// was given an authority: [Node.AddAuthority] keeps one for all that the node does
// from then on.
//
// An authority (lease.Authority) is a chain of certificates with the key at its end:
// what may be done, and on whose account. Who has one can narrow it and hand that
// on, without asking anybody: lease.Authority.HandOver makes one that ends, has so
// much space, or is good for one file.
//
// A single call uses another authority than the node's own if it is told to: by
// [Under], an [Option] of every method that takes options, or by Authority in
// [PutOptions] and [MutableOptions]; the options' Keep has the node renew the leases of
// what it stored so. Such calls have connections of their own, which servers can't
// tell to be this node's. An authority without holdings is none: the node's own is
// used.
//
// # What becomes of files
//
// Shares stay as long as somebody has a lease on them. The node notes what it stored
// and renews the leases ([Node.Leases], [Node.RenewLeases]); [Node.Keep] does so for files
// of others, [Node.GiveUp] ends it. [Node.Check] tells how many of a file's shares are
// there and on how many servers, [Node.Repair] makes what is missing once more. The
// capability for either may be one that can't read the file.
//
// [Node.OwnUsage] and [Node.GridUsage] say what an account holds.
//
// # Operators
//
// The other roles have interfaces of their own: [Operator] decides who may store on a
// server ([Node.Operator], or [OpenOperator] while the node does not run), [Manager] who is a
// member of a grid, [Aggregator] adds up what members hold, [Renewer] and [Repairer] look
// after files of others. [Node.Status] and [Node.Metrics] tell how the node is.
package tarn
