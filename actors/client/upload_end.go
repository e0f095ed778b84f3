package client

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file/transfer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// ErrInterrupted ends what was under way when a part of the node failed.
var ErrInterrupted = errors.New("interrupted by a failure inside this node; its log says more")

// errAskedAgain refuses a server that wants to pull what it was sent whole.
var errAskedAgain = fmt.Errorf("%w: the server asks for a share that it was sent", errAnswer)

var errAnswer = errors.New("an answer that does not belong to the question")

// maxReasons is how many servers an UploadError names in its sentence.
const maxReasons = 20

// UploadError says why a file was not stored, and what each server said that
// was given up.
type UploadError struct {
	Err     error
	Reasons map[grid.ServerID]error
}

// Unwrap gives the cause.
func (e *UploadError) Unwrap() error { return e.Err }

// Error is a sentence and what each server said.
func (e *UploadError) Error() string {
	s := e.Err.Error()
	var why []string
	for id, err := range e.Reasons {
		why = append(why, id.Short()+": "+err.Error())
	}
	if len(why) == 0 {
		return s
	}
	slices.Sort(why)
	if n := len(why) - maxReasons; n > 0 {
		why = append(why[:maxReasons], fmt.Sprintf("and %d more", n))
	}
	return s + " (" + strings.Join(why, "; ") + ")"
}

// unexpected is the error of a reply that is not the answer wanted.
func unexpected(m Reply) error {
	if m.Err != nil {
		return m.Err
	}
	return fmt.Errorf("%w: %T", errAnswer, m.Frame.Message)
}

// isLinkLoss reports whether a call failed for want of a connection.
func isLinkLoss(err error) bool { return errors.Is(err, ErrNotConnected) }

// finish writes the file into the journal before anybody is told that it is
// stored.
func (u *upload) finish(ctx actor.Context, e transfer.Finished) {
	u.ended = true
	answer := Stored{Cap: u.cap, Placement: e.Placement, Pushed: e.Pushed, Found: e.Found, Happiness: e.Happiness, LeftOut: u.left}
	file, leases := u.journalEntry(e)
	answer.Labels = map[grid.ServerID]grid.PublicKey{}
	for _, l := range leases {
		answer.Labels[l.Server] = l.Label
	}
	for _, id := range sortedServers(e.Reasons) {
		answer.LeftOut = append(answer.LeftOut, LeftOut{id, u.servers[id].name, e.Reasons[id]})
	}
	u.log.Info("file stored", "storage-index", u.si().String(), "size", u.put.File.Size, "pushed", e.Pushed, "found", e.Found, "happiness", e.Happiness)
	journal := u.journal
	if journal == nil {
		u.answer(ctx, journalled{answer: answer})
		return
	}
	u.env.Exec.Do(env.Disk, ctx.Self(), func() any { return journalled{answer, journal.Add(file, leases)} })
}

// reasons is why servers that were asked failed, and others were not asked.
func (u *upload) reasons(asked map[grid.ServerID]error) map[grid.ServerID]error {
	all := maps.Clone(asked)
	if all == nil {
		all = map[grid.ServerID]error{}
	}
	for _, l := range u.left {
		all[l.Server] = l.Err
	}
	return all
}

// journalEntry is the file, and its leases, as they are written down. When the
// leases end, the renewer hears from the servers.
func (u *upload) journalEntry(e transfer.Finished) (lease.JournalFile, []lease.PlacedLease) {
	now := u.env.Clock.Now().Unix()
	f := lease.JournalFile{StorageIndex: u.si(), VerifyCap: u.cap.String(), Size: u.put.File.Size, Stored: now}
	var leases []lease.PlacedLease
	for _, num := range slices.Sorted(maps.Keys(e.Placement)) {
		for _, id := range e.Placement[num] {
			l := lease.JournalLease{Share: lease.ShareID{StorageIndex: u.si(), Num: num}, Label: u.servers[id].label, Renewed: now}
			leases = append(leases, lease.PlacedLease{Server: id, JournalLease: l})
		}
	}
	return f, leases
}

func (u *upload) answer(ctx actor.Context, m journalled) {
	u.answered = true
	if m.err != nil {
		ctx.Send(u.put.ReplyTo, fmt.Errorf("the file is stored but could not be written into the journal, so its leases will not be renewed: %w", m.err))
	} else {
		ctx.Send(u.put.ReplyTo, m.answer)
	}
	ctx.Stop(ctx.Self())
}

func (u *upload) fail(ctx actor.Context, err error) {
	u.log.Warn("file not stored", "storage-index", u.si().String(), "size", u.put.File.Size, "error", err)
	u.withdrawAll(ctx)
	u.answered = true
	ctx.Send(u.put.ReplyTo, err)
	ctx.Stop(ctx.Self())
}

// interrupted tells who still waits that the actor ends before the upload does:
// it failed, or what it is a part of.
func (u *upload) interrupted(ctx actor.Context) {
	if !u.answered {
		u.answered = true
		ctx.Send(u.put.ReplyTo, fmt.Errorf("store the file: %w", ErrInterrupted))
	}
}

// release lets everything go that is held outside of the actor.
func (u *upload) release() {
	u.ended = true
	if u.pass != nil {
		u.pass.release()
	}
	source := u.source
	if source == nil {
		return
	}
	u.env.Exec.Do(env.Disk, nil, func() any {
		source.done()
		return nil
	})
}
