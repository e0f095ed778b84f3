package tarn

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport/wire"
)

// Leases is what a node's client knows of its leases, from its own journal.
type Leases struct {
	// Files is how many files the journal lists.
	Files int64
	// Servers is where their leases are, by server.
	Servers []ServerLeases
}

// ServerLeases is the leases at one server.
type ServerLeases struct {
	Server   grid.ServerID
	Nickname string
	// Leases is how many the journal lists; Lapsed of them the server has no
	// more.
	Leases, Lapsed int64
	// Checked is when they were last gone through, zero for not yet since the
	// node runs.
	Checked time.Time
	// Renewed is how many were renewed then; Others are those of an account
	// that the node is not logged in with, Refused those that it may not renew.
	Renewed, Others, Refused int
	// Err is why that was broken off, or why the server is away.
	Err error
}

// LeasedFile is a file in the journal.
type LeasedFile struct {
	StorageIndex grid.StorageIndex
	// VerifyCap is empty where only the leases are known.
	VerifyCap string
	Size      int64
	Stored    time.Time
	// Needed is how many different shares give the file back, 0 where that is
	// not known. Held is how many different ones have a lease of ours.
	Needed, Held int
	Shares       []LeasedShare
}

// LeasedShare is a lease on one share of a file.
type LeasedShare struct {
	Server grid.ServerID
	Num    grid.ShareNum
	// Expires is when it ends, as the server last said; zero is not known yet.
	Expires time.Time
	// Lapsed is when the server was found without it; zero if it has it.
	Lapsed time.Time
}

// Leases says how many leases the journal lists where, and what came of
// renewing them.
func (n *Node) Leases(ctx context.Context) (Leases, error) {
	if n.config.Client == nil {
		return Leases{}, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	files, err := n.journal.Files()
	if err != nil {
		return Leases{}, err
	}
	servers, err := n.journal.Servers()
	if err != nil {
		return Leases{}, err
	}
	known, err := n.serversByID(ctx)
	if err != nil {
		return Leases{}, n.cause(err)
	}
	rounds, err := n.renewals(ctx)
	if err != nil {
		return Leases{}, n.cause(err)
	}
	all := Leases{Files: files, Servers: make([]ServerLeases, len(servers))}
	for i, s := range servers {
		all.Servers[i] = serverLeases(s, known[s.Server], rounds[s.Server])
	}
	return all, nil
}

// RenewLeases renews all leases that the journal lists at the servers that can
// be reached, due or not, and says what came of it as Leases does.
func (n *Node) RenewLeases(ctx context.Context) (Leases, error) {
	if n.config.Client == nil {
		return Leases{}, ErrNoClient
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	if _, err := n.serversByID(ctx); err != nil { // which waits until they are reached
		return Leases{}, n.cause(err)
	}
	_, err := env.Ask[client.Renewals](ctx, n.system, n.root, func(replyTo *env.PID) any {
		return actors.ToClient{Message: client.RenewNow{ReplyTo: replyTo}}
	}, nil)
	if err != nil {
		return Leases{}, n.cause(err)
	}
	return n.Leases(ctx)
}

func serverLeases(s lease.JournalServer, known client.ServerStatus, round client.Renewal) ServerLeases {
	l := ServerLeases{
		Server: s.Server, Nickname: known.Name(), Leases: s.Leases, Lapsed: s.Lapsed, Checked: round.Ended,
		Renewed: round.Renewed, Others: round.Others, Refused: round.Refused, Err: round.Err,
	}
	if known.State != client.LoggedIn {
		if l.Err = known.Err; l.Err == nil {
			l.Err = client.ErrNotConnected
		}
	}
	return l
}

func (n *Node) serversByID(ctx context.Context, how ...Option) (map[grid.ServerID]client.ServerStatus, error) {
	picture, err := n.clientPicture(ctx, client.AskStatus{Settled: true, Authority: AuthorityOf(how...)})
	return statusByID(picture), err
}

func statusByID(picture client.Status) map[grid.ServerID]client.ServerStatus {
	known := map[grid.ServerID]client.ServerStatus{}
	for _, s := range picture.Servers {
		known[s.Announcement.Server] = s
	}
	return known
}

func (n *Node) renewals(ctx context.Context) (map[grid.ServerID]client.Renewal, error) {
	all, err := env.Ask[client.Renewals](ctx, n.system, n.root, func(replyTo *env.PID) any {
		return actors.ToClient{Message: client.AskRenewals{ReplyTo: replyTo}}
	}, nil)
	return renewalsByID(all), err
}

func renewalsByID(all client.Renewals) map[grid.ServerID]client.Renewal {
	rounds := map[grid.ServerID]client.Renewal{}
	for _, r := range all {
		rounds[r.Server] = r
	}
	return rounds
}

// filesAtOnce is how many files are read from the journal at a time.
const filesAtOnce = 256

// LeasedFiles yields the files in the journal by storage index: all of them,
// or those of which leases have lapsed. It stops at the first error that yield
// returns, and returns it.
func (n *Node) LeasedFiles(ctx context.Context, all bool, yield func(LeasedFile) error) error {
	if n.config.Client == nil {
		return ErrNoClient
	}
	list := n.journal.LapsedAfter
	if all {
		list = n.storedAfter
	}
	return yieldFiles(ctx, n.journal, list, yield)
}

// yieldFiles yields files of a journal, in the order in which list has them.
func yieldFiles(ctx context.Context, j *store.Journal, list func(*grid.StorageIndex, int) ([]grid.StorageIndex, bool, error), yield func(LeasedFile) error) error {
	var after *grid.StorageIndex
	for {
		files, more, err := list(after, filesAtOnce)
		for _, si := range files {
			if err == nil {
				err = yieldFile(j, si, yield)
			}
			if err == nil {
				err = ctx.Err()
			}
		}
		if err != nil || !more {
			return err
		}
		after = &files[len(files)-1]
	}
}

func (n *Node) storedAfter(after *grid.StorageIndex, limit int) ([]grid.StorageIndex, bool, error) {
	files, more, err := n.journal.FilesAfter(after, limit)
	ids := make([]grid.StorageIndex, len(files))
	for i, f := range files {
		ids[i] = f.StorageIndex
	}
	return ids, more, err
}

func yieldFile(j *store.Journal, si grid.StorageIndex, yield func(LeasedFile) error) error {
	f, ok, err := j.File(si)
	if err != nil || !ok {
		return err // it was dropped just now, if there is none
	}
	leases, err := j.Leases(si)
	if err != nil {
		return err
	}
	return yield(leasedFile(f, leases))
}

func leasedFile(f lease.JournalFile, leases []lease.PlacedLease) LeasedFile {
	out := LeasedFile{StorageIndex: f.StorageIndex, VerifyCap: f.VerifyCap, Size: f.Size, Stored: unix(f.Stored)}
	if v, ok := verifier(f.VerifyCap); ok {
		out.Needed = v.Needed
	}
	held := map[grid.ShareNum]bool{}
	for _, l := range leases {
		out.Shares = append(out.Shares, LeasedShare{Server: l.Server, Num: l.Share.Num, Expires: unix(l.Expires), Lapsed: unix(l.Lapsed)})
		if l.Lapsed == 0 {
			held[l.Share.Num] = true
		}
	}
	out.Held = len(held)
	return out
}

// unix is a time in seconds; 0 is none.
func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

func verifier(verifyCap string) (file.CHKVerifier, bool) {
	c, err := file.Parse(verifyCap)
	if err != nil {
		return file.CHKVerifier{}, false
	}
	v, ok := c.(file.CHKVerifier)
	return v, ok
}

// contentOf is the hash of the content that shares have: none where they can be
// changed.
func contentOf(verifyCap string) (hash [32]byte, ok bool) {
	c, err := file.Parse(verifyCap)
	if err != nil {
		return hash, false
	}
	if d, isDir := c.(file.Directory); isDir {
		c = d.File
	}
	switch c := c.(type) {
	case file.CHKVerifier:
		return c.UEBHash, true
	case file.Mutable:
		return hash, true
	}
	return hash, false
}

// storageIndexOf is the storage index of what a capability names. Errors:
// ErrCap.
func storageIndexOf(capability string) (grid.StorageIndex, file.Capability, error) {
	c, err := file.Parse(capability)
	if err != nil {
		return grid.StorageIndex{}, nil, kind{ErrCap, err}
	}
	if si, ok := file.StorageIndexOf(c); ok {
		return si, c, nil
	}
	if _, literal := c.(file.LIT); literal {
		return grid.StorageIndex{}, nil, fmt.Errorf("%w: its capability holds it, so no server keeps anything of it", ErrCap)
	}
	return grid.StorageIndex{}, nil, fmt.Errorf("%w: %s", ErrCap, c.Kind())
}

// FileLeases is what became of a file's leases at one server.
type FileLeases struct {
	Server   grid.ServerID
	Nickname string
	// Leases is on how many shares they were.
	Leases int
	// Expires is when the last of them ends: of those that were renewed, or of
	// those that could not be given up because of Err.
	Expires time.Time
	Err     error
}

// GiveUp ends this account's leases on a file, by any of its capabilities, and
// forgets the file. Where a server can't be reached its leases end by
// themselves, for nobody renews them any more. Errors: ErrCap.
func (n *Node) GiveUp(ctx context.Context, capability string, how ...Option) ([]FileLeases, error) {
	return n.onFile(ctx, capability, false, how...)
}

// Keep renews this account's leases on a file, by any of its capabilities, at
// all servers that can be reached, and from now on as those of files that this
// node stored. Errors: ErrCap.
func (n *Node) Keep(ctx context.Context, capability string, how ...Option) ([]FileLeases, error) {
	return n.onFile(ctx, capability, true, how...)
}

func (n *Node) onFile(ctx context.Context, capability string, renew bool, how ...Option) ([]FileLeases, error) {
	if n.config.Client == nil {
		return nil, ErrNoClient
	}
	si, c, err := storageIndexOf(capability)
	if err != nil {
		return nil, err
	}
	return n.onIndex(ctx, si, c, renew, how...)
}

// onIndex is onFile for a storage index; the capability is only needed to renew.
func (n *Node) onIndex(ctx context.Context, si grid.StorageIndex, c file.Capability, renew bool, how ...Option) ([]FileLeases, error) {
	ctx, cancel := n.until(ctx)
	defer cancel()
	placed, err := n.journal.Leases(si)
	if err != nil {
		return nil, err
	}
	servers, err := n.serversByID(ctx, how...)
	if err != nil {
		return nil, n.cause(err)
	}
	var all []FileLeases
	var kept []lease.PlacedLease
	for _, id := range fileServers(servers, placed) {
		s := servers[id]
		f, held := n.onFileAt(ctx, s, si, at(id, placed), renew)
		f.Server, f.Nickname = id, s.Name()
		if f.Leases > 0 || f.Err != nil && len(at(id, placed)) > 0 {
			all = append(all, f)
		}
		kept = append(kept, held...)
	}
	if !renew {
		return all, n.journal.Drop(si)
	}
	if len(kept) == 0 {
		return all, nil
	}
	return all, n.journal.Add(n.kept(si, c), kept)
}

// kept is a file as it goes into the journal when it is to be renewed.
func (n *Node) kept(si grid.StorageIndex, c file.Capability) lease.JournalFile {
	f := lease.JournalFile{StorageIndex: si, Stored: time.Now().Unix()}
	switch c := c.(type) {
	case file.CHK:
		f.VerifyCap, f.Size = c.Verifier().String(), c.Size
	case file.CHKVerifier:
		f.VerifyCap, f.Size = c.String(), c.Size
	default:
		if v, err := file.Verifier(c); err == nil {
			f.VerifyCap = v.String()
		}
	}
	return f
}

// fileServers is where leases on a file may be: at the servers that are known,
// and where the journal says, by id.
func fileServers(servers map[grid.ServerID]client.ServerStatus, placed []lease.PlacedLease) []grid.ServerID {
	ids := slices.Collect(maps.Keys(servers))
	for _, l := range placed {
		ids = append(ids, l.Server)
	}
	slices.SortFunc(ids, func(a, b grid.ServerID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

// at is the leases at one server.
func at(id grid.ServerID, placed []lease.PlacedLease) []lease.PlacedLease {
	return slices.DeleteFunc(slices.Clone(placed), func(l lease.PlacedLease) bool { return l.Server != id })
}

// onFileAt renews, or gives up, what leases this account has on a file at one
// server, and returns those that it now has.
func (n *Node) onFileAt(ctx context.Context, s client.ServerStatus, si grid.StorageIndex, placed []lease.PlacedLease, renew bool) (f FileLeases, held []lease.PlacedLease) {
	end := int64(0)
	for _, l := range placed {
		end = max(end, l.Expires)
	}
	found, err := numbersAt(ctx, n, s, si)
	if err != nil {
		return FileLeases{Expires: unix(end), Err: err}, nil
	}
	for _, l := range placed {
		found[l.Share.Num] = [32]byte{}
	}
	var ids []lease.ShareID
	for _, num := range slices.Sorted(maps.Keys(found)) {
		ids = append(ids, lease.ShareID{StorageIndex: si, Num: num})
	}
	outcomes, renewedTo, err := onShares(ctx, n, s, renew, ids)
	if err != nil {
		return FileLeases{Expires: unix(end), Err: err}, nil
	}
	now := time.Now().Unix()
	for i, id := range ids {
		if outcomes[i] == wire.ShareDone {
			l := lease.JournalLease{Share: id, Label: s.Label, Renewed: now, Expires: renewedTo}
			held = append(held, lease.PlacedLease{Server: s.Announcement.Server, JournalLease: l})
		}
	}
	f = FileLeases{Leases: len(held)}
	if renew {
		f.Expires = unix(renewedTo)
	}
	return f, held
}
