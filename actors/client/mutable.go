package client

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Messages to Client about mutable files, each answered by one more at least.
type (
	// CreateMutable makes a file; answered by MutableWritten or an error.
	CreateMutable struct {
		ReplyTo *actor.PID
		Format  mutable.Format
		Key     *mutable.Key // nil for a new one
		Content Content      // closed when it is needed no more
		Size    int64        // of the content, bytes
		Params  file.Params
		// Authority to write under; the node's own where it is empty.
		Authority lease.Authority
	}
	// OpenMutable finds the newest version that can be read; answered by
	// MutableOpened or an error. What that names takes ReadMutable until CloseFile;
	// who reads slowly holds nobody up.
	OpenMutable struct {
		ReplyTo   *actor.PID
		Cap       file.Mutable
		Authority lease.Authority
		Params    file.Params // of the node: how many servers to ask at first
	}
	// ReadMutable reads the newest version that can be read: answered by
	// MutableOpened, Pieces and RangeEnd, or an error.
	ReadMutable struct {
		ReplyTo        *actor.PID
		Cap            file.Mutable
		Offset, Length int64 // Length is negative for all that follows
		Credit         int   // how many Pieces may come at first
		// Version is the only one to be read, if it is not nil; ErrChanged if
		// there is a newer one.
		Version *mutable.Prefix
		// Remembered lets what this node wrote or read last be the answer, though
		// others may have written since.
		Remembered bool
		Authority  lease.Authority
		Params     file.Params // of the node: how many servers to ask at first
	}
	// WriteMutable writes a new version; answered by MutableWritten or an error.
	WriteMutable struct {
		ReplyTo *actor.PID
		Cap     file.Mutable
		Content Content // closed when it is needed no more
		Size    int64
		// Part says that the content is a part of the new version, at Offset, or
		// at the end if that is negative; else it is all of it.
		Part   bool
		Offset int64
		// Base is the only version that may be changed, if it is not nil.
		Base      *mutable.Prefix
		Authority lease.Authority
		Params    file.Params // of the node
	}
)

// From a mutable file.
type (
	// MutableOpened is which version is read. PID takes ReadMutable and CloseFile,
	// if it was opened.
	MutableOpened struct {
		PID     *actor.PID
		Version mutable.Prefix
	}
	// MutableWritten says that a version is durable on enough servers.
	MutableWritten struct {
		Cap       file.Mutable // the write capability
		Version   mutable.Prefix
		Placement map[grid.ShareNum][]grid.ServerID
		Happiness int
		// Labels is whose leases the shares have, by server.
		Labels  map[grid.ServerID]grid.PublicKey
		LeftOut []LeftOut
	}
)

// ErrChanged means that a file is not as it was any more. ConflictError is more
// often what a writer is told.
var ErrChanged = errors.New("the file has been changed meanwhile")

// ConflictError means that somebody else wrote at the same time. Clean says that
// nothing was written; else it is not known whether what was to be written is a
// part of what the file is now.
type ConflictError struct{ Clean bool }

// Error is a sentence.
func (e *ConflictError) Error() string {
	if e.Clean {
		return "somebody else wrote the file at the same time; nothing was changed"
	}
	return "somebody else wrote the file at the same time, and it is not known whether this write counts; look at the file"
}

// mutableFile is one mutable file that is in use: it does one thing after the
// other with it.
//
// Owns: what is known of the file: its key, where its shares are, its content if that is short; what is still to be done with it.
// On failure: ends with errors; each server has the old shares or the new ones.
type mutableFile struct {
	env     *env.Env
	log     *slog.Logger
	broker  *actor.PID
	keys    *actor.PID
	journal Journal
	born    *CreateMutable // what it begins with, if it is new
	cap     file.Mutable   // a write capability once one was used

	queue     []*mutableJob
	flow      *flow
	uses      int  // requests that came
	forwarded int  // of them, by way of the client
	alone     bool // it is for one who asked, and ends with that
	stopRest  func()

	key     *mutable.Key
	newest  uint64  // sequence number that was seen
	known   *survey // after a write of our own
	last    *survey // of who reads
	content []byte  // of the version below
	of      *mutable.Prefix
	noted   map[lease.PlacedLease]bool // in the journal
	staged  []stagedShare              // of the write under way
}

// mutableJob is a request.
type mutableJob struct {
	replyTo *actor.PID
	content Content // nil if it has none
	run     func(f *flow)
	credit  int // of a reader
}

// newMutableFile makes one of which the version newest was seen before.
func newMutableFile(e *env.Env, c Config, broker, keys *actor.PID, log *slog.Logger, cap file.Mutable, newest uint64, born *CreateMutable) env.Producer {
	return func() actor.Actor {
		return &mutableFile{
			env: e, log: log, broker: broker, keys: keys, journal: c.Journal, cap: cap, newest: newest, born: born, noted: map[lease.PlacedLease]bool{},
		}
	}
}

type (
	// throughClient is a request that the client counts.
	throughClient struct{ message any }
	// restingMutable tells the client that a file that had so many uses has none
	// under way, and how many bytes it keeps.
	restingMutable struct {
		pid   *actor.PID
		uses  int
		bytes int64
	}
	// idleMutable asks the client to end a file that had so many uses, if there
	// are no more on their way.
	idleMutable struct {
		pid  *actor.PID
		uses int
	}
	mutableRests struct{ uses int }
	// mutableMended tells who uses a file that shares of it are where none were.
	mutableMended struct{ si grid.StorageIndex }
)

// Receive implements actor.Actor.
func (m *mutableFile) Receive(ctx actor.Context) {
	switch msg := ctx.Message().(type) {
	case throughClient:
		m.forwarded++
		m.request(ctx, msg.message)
	case *actor.Started:
		if m.born != nil {
			born := *m.born
			m.add(ctx, &mutableJob{replyTo: born.ReplyTo, content: born.Content, run: func(f *flow) { m.create(f, born) }})
		}
	case ReadMutable, OpenMutable, CheckMutable, RepairMutable:
		m.request(ctx, msg)
	case CloseFile:
		ctx.Stop(ctx.Self())
	case Cancel:
		m.cancel(ctx, msg.ReplyTo)
		if m.alone {
			ctx.Stop(ctx.Self()) // nobody will close it
		}
	case StopReading:
		m.cancel(ctx, msg.ReplyTo)
	case MorePieces:
		if len(m.queue) > 0 && ctx.Sender() != nil && m.queue[0].replyTo.Equal(ctx.Sender()) {
			m.queue[0].credit += msg.Count
			m.give(ctx)
		}
	case mutableRests:
		if msg.uses == m.uses && len(m.queue) == 0 {
			ctx.Send(ctx.Parent(), idleMutable{ctx.Self(), m.forwarded})
		}
	case mutableMended:
		m.known = nil
	case *actor.Restarting:
		m.endAll(ctx) // the next incarnation only ends
		ctx.Stop(ctx.Self())
	case *actor.Stopping:
		m.endAll(ctx)
	case *actor.Stopped, *actor.Terminated:
	default:
		m.give(ctx)
	}
}

// request takes one.
func (m *mutableFile) request(ctx actor.Context, msg any) {
	m.uses++
	switch msg := msg.(type) {
	case OpenMutable:
		m.alone = true
		m.use(msg.Cap)
		m.add(ctx, &mutableJob{replyTo: msg.ReplyTo, run: func(f *flow) { m.openVersion(f, msg) }})
	case CheckMutable:
		m.alone = true
		m.add(ctx, &mutableJob{replyTo: msg.ReplyTo, run: func(f *flow) { m.check(f, msg) }})
	case RepairMutable:
		m.alone = true
		m.add(ctx, &mutableJob{replyTo: msg.ReplyTo, run: func(f *flow) { m.repair(f, msg) }})
	case ReadMutable:
		m.use(msg.Cap)
		job := &mutableJob{replyTo: msg.ReplyTo, credit: msg.Credit}
		job.run = func(f *flow) { m.read(f, msg, job) }
		m.add(ctx, job)
	case WriteMutable:
		m.use(msg.Cap)
		m.add(ctx, &mutableJob{replyTo: msg.ReplyTo, content: msg.Content, run: func(f *flow) { m.write(f, msg) }})
	}
}

// use keeps the capability that can do more.
func (m *mutableFile) use(c file.Mutable) {
	if c.Writable() || !m.cap.Writable() && c.Kind() != file.KindSSKVerifier && c.Kind() != file.KindMDMFVerifier {
		m.cap = c
	}
}

func (m *mutableFile) add(ctx actor.Context, job *mutableJob) {
	m.queue = append(m.queue, job)
	if m.stopRest != nil {
		m.stopRest()
		m.stopRest = nil
	}
	if len(m.queue) == 1 {
		m.next(ctx)
	}
}

// next begins with the first of the queue.
func (m *mutableFile) next(ctx actor.Context) {
	if len(m.queue) == 0 {
		m.rest(ctx)
		return
	}
	job := m.queue[0]
	m.flow = newFlow(m.env, job.run)
	m.give(ctx)
}

// rest ends the actor after a while, unless it is used again; at once where nobody
// could find it.
func (m *mutableFile) rest(ctx actor.Context) {
	switch {
	case m.alone: // ends when it is closed, or has answered
	case m.born != nil:
		ctx.Stop(ctx.Self())
	default:
		ctx.Send(ctx.Parent(), restingMutable{ctx.Self(), m.forwarded, m.keeps()})
		m.stopRest = m.env.Clock.After(mutableIdle, ctx.Self(), mutableRests{m.uses})
	}
}

// keeps is about how many bytes are remembered.
func (m *mutableFile) keeps() int64 {
	n := mutableOverhead + int64(len(m.content))
	for _, s := range []*survey{m.known, m.last} {
		if s != nil {
			n += s.bytes()
		}
	}
	return n
}

// give continues what is under way, and goes on with the next when it has ended.
func (m *mutableFile) give(ctx actor.Context) {
	if m.flow == nil {
		if d, ok := ctx.Message().(env.Discarder); ok {
			d.Discard()
		}
		return
	}
	if m.flow.give(ctx, ctx.Message()) {
		m.ended(ctx)
	}
}

func (m *mutableFile) ended(ctx actor.Context) {
	m.flow = nil
	m.close(m.queue[0])
	m.queue = m.queue[1:]
	m.next(ctx)
}

// close lets go of what a job was to write.
func (m *mutableFile) close(job *mutableJob) {
	if job.content == nil {
		return
	}
	content := job.content
	m.env.Exec.Do(env.Disk, nil, func() any {
		_ = content.Close() // it was only read
		return nil
	})
}

// cancel gives up what was asked for with an address for replies.
func (m *mutableFile) cancel(ctx actor.Context, replyTo *actor.PID) {
	i := slices.IndexFunc(m.queue, func(j *mutableJob) bool { return j.replyTo.Equal(replyTo) })
	switch {
	case i == 0:
		m.flow.stop()
		m.unstage(ctx)
		m.forget()
		m.ended(ctx)
	case i > 0:
		m.close(m.queue[i])
		m.queue = slices.Delete(m.queue, i, i+1)
	}
}

// forget drops what may be out of date.
func (m *mutableFile) forget() { m.known, m.last, m.content, m.of = nil, nil, nil, nil }

func (m *mutableFile) endAll(ctx actor.Context) {
	if m.flow != nil {
		m.flow.stop()
		m.flow = nil
	}
	for _, job := range m.queue {
		ctx.Send(job.replyTo, fmt.Errorf("use a mutable file: %w", ErrInterrupted))
		m.close(job)
	}
	m.queue, m.born = nil, nil
}

// answer is the last word of a job.
func (m *mutableFile) answer(f *flow, to *actor.PID, reply any) {
	if err, ok := reply.(error); ok {
		m.log.Warn("mutable file not read or written", "storage-index", m.cap.StorageIndex().String(), "error", err)
	}
	f.ctx.Send(to, reply)
}

// mutableName is under what a file in use is found: a file is another one under
// another authority.
type mutableName struct {
	si        grid.StorageIndex
	authority lease.AuthorityID
}

// mutables are the files in use.
type mutables struct {
	files map[mutableName]*usedMutable
	names map[string]mutableName // by PID id
	count int
	keys  *actor.PID
	turn  uint64 // of the last use
	kept  int64  // bytes that all of them remember
	seen  seenVersions
}

type usedMutable struct {
	pid     *actor.PID
	uses    int
	turn    uint64
	resting int   // the uses after which it had nothing to do
	bytes   int64 // that it remembers
}

func newMutables() mutables {
	return mutables{files: map[mutableName]*usedMutable{}, names: map[string]mutableName{}, seen: newSeenVersions()}
}

// createMutable starts a file that has no name yet.
func (c *Client) createMutable(ctx actor.Context, m CreateMutable) {
	broker, done := c.under(ctx, m.Authority)
	c.mutables.count++
	name := fmt.Sprintf("mutable/%d/for-%s", c.mutables.count, m.ReplyTo.Id)
	pid := c.env.Spawn.Child(ctx, name, newMutableFile(c.env, c.config, broker, c.mutables.keys, c.job("create"), file.Mutable{}, 0, &m))
	c.using[pid.Id] = done
}

// lookAtMutable starts an actor for one who reads or checks: of those a file may
// have many.
func (c *Client) lookAtMutable(ctx actor.Context, kind string, replyTo *actor.PID, capability file.Mutable, a lease.Authority, m any) {
	broker, done := c.under(ctx, a)
	c.mutables.count++
	name := fmt.Sprintf("mutable/%d/for-%s", c.mutables.count, replyTo.Id)
	pid := c.env.Spawn.Child(ctx, name, newMutableFile(c.env, c.config, broker, c.mutables.keys, c.job(kind), capability, c.mutables.seen.newest[capability.StorageIndex()], nil))
	c.using[pid.Id] = done
	ctx.Send(pid, m)
}

// useMutable passes a request on to its file.
func (c *Client) useMutable(ctx actor.Context, capability file.Mutable, a lease.Authority, m any) {
	name := mutableName{capability.StorageIndex(), a.ID()}
	used := c.mutables.files[name]
	if used == nil {
		broker, done := c.under(ctx, a)
		c.mutables.count++
		pid := c.env.Spawn.Child(ctx, fmt.Sprintf("mutable/%d", c.mutables.count),
			newMutableFile(c.env, c.config, broker, c.mutables.keys, c.job("mutable"), capability, c.mutables.seen.newest[name.si], nil))
		c.using[pid.Id] = done
		used = &usedMutable{pid: pid}
		c.mutables.files[name], c.mutables.names[pid.Id] = used, name
	}
	used.uses++
	c.mutables.turn++
	used.turn = c.mutables.turn
	ctx.Send(used.pid, throughClient{m})
}

// rests notes that a file has nothing to do, and returns those to be ended because
// all of them remember too much: the ones that were used longest ago.
func (u *mutables) rests(m restingMutable) (end []*actor.PID) {
	name, ok := u.names[m.pid.Id]
	if !ok {
		return nil
	}
	used := u.files[name]
	u.kept += m.bytes - used.bytes
	used.bytes, used.resting = m.bytes, m.uses
	for u.kept > mutablesKept {
		oldest := u.oldest()
		if oldest == nil {
			break
		}
		u.gone(oldest)
		end = append(end, oldest)
	}
	return end
}

// oldest is the file that was used longest ago, of those that have nothing to do.
func (u *mutables) oldest() *actor.PID {
	var oldest *usedMutable
	for _, used := range u.files {
		if used.resting == used.uses && (oldest == nil || used.turn < oldest.turn) {
			oldest = used
		}
	}
	if oldest == nil {
		return nil
	}
	return oldest.pid
}

// idleMutable ends a file that nobody uses.
func (c *Client) idleMutable(ctx actor.Context, m idleMutable) {
	name, ok := c.mutables.names[m.pid.Id]
	if ok && c.mutables.files[name].uses != m.uses {
		return
	}
	c.mutables.gone(m.pid)
	ctx.Poison(m.pid)
}

// mutableMended tells those who use a file, under whatever authority.
func (c *Client) mutableMended(ctx actor.Context, m mutableMended) {
	for _, child := range ctx.Children() {
		if name, ok := c.mutables.names[child.Id]; ok && name.si == m.si {
			ctx.Send(child, m)
		}
	}
}

// gone forgets a file that has ended.
func (u *mutables) gone(pid *actor.PID) {
	if name, ok := u.names[pid.Id]; ok {
		u.kept -= u.files[name].bytes
		delete(u.names, pid.Id)
		delete(u.files, name)
	}
}
