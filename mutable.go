package tarn

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Format is how a mutable file is stored.
type Format string

// The formats. Small files are written whole; of medium ones parts can be read
// and written alone.
const (
	SDMF Format = "sdmf"
	MDMF Format = "mdmf"
)

// Errors about what mutable files are made of.
var (
	// ErrFormat is a text that names no format.
	ErrFormat = errors.New("not a format of mutable files")
	// ErrMutableKey is what can't be the private key of a mutable file.
	ErrMutableKey = mutable.ErrKey
)

// ParseFormat reads a format, in any case.
func ParseFormat(text string) (Format, error) {
	switch f := Format(strings.ToLower(text)); f {
	case SDMF, MDMF:
		return f, nil
	}
	return "", fmt.Errorf("%w: %q (want sdmf or mdmf)", ErrFormat, text)
}

func (f Format) shares() mutable.Format {
	if f == MDMF {
		return mutable.MDMF
	}
	return mutable.SDMF
}

// MaxModify is the longest content of a mutable file that Modify changes, MaxPart
// the longest that WriteAt and Append write as one version, in bytes. A file of the format
// MDMF is otherwise as long as any file; one of the format SDMF, which is in memory as
// a whole, is written up to MaxModify bytes.
const (
	MaxModify = 64 << 20
	MaxPart   = 8 << 20
)

// MutableOptions change how a mutable file or directory is made; the zero value
// takes the node's parameters, a new key, and SDMF.
type MutableOptions struct {
	Format Format
	// PrivateKey is an RSA key of 2048 bits in PEM, from which the capability
	// follows; nil for a new one.
	PrivateKey []byte
	// Params replace the node's encoding parameters.
	Params *file.Params
	// Authority and Keep are those of PutOptions.
	Authority lease.Authority
	Keep      bool
}

// MutableResult tells what became of a version of a mutable file.
type MutableResult struct {
	// Cap is the write capability, ReadCap the one that can only read.
	Cap, ReadCap string
	Size         int64
	Version      Version
	// Happiness, Placement, Unrenewed and LeftOut are those of PutResult.
	Happiness int
	Placement map[grid.ShareNum][]grid.ServerID
	Unrenewed []grid.ServerID
	LeftOut   []ServerError
}

// Version is one of a mutable file: two are equal if nothing was written in
// between. The zero one is none.
type Version struct{ prefix mutable.Prefix }

// Number counts versions from 1.
func (v Version) Number() uint64 { return v.prefix.Seqnum }

// Size is the length of the file, in bytes.
func (v Version) Size() int64 { return v.prefix.Size }

// String names the version: its number and a part of its hash.
func (v Version) String() string {
	return fmt.Sprintf("%d-%s", v.prefix.Seqnum, grid.EncodeBase32(v.prefix.Root[:10]))
}

// Onto has a call that writes one mutable file or directory change this version and no
// other; ErrConflict if there is another one by now. Modify and EditDirectory then do
// not begin anew.
func Onto(v Version) Option {
	return func(o *options) { o.onto = &v }
}

// CreateMutable makes a mutable file with what it reads from r. It returns when
// enough distinct servers hold its shares durably. Errors: ErrTooFewServers, ErrFormat.
func (n *Node) CreateMutable(ctx context.Context, r io.Reader, o MutableOptions) (MutableResult, error) {
	return n.createMutable(ctx, r, o, nil)
}

func (n *Node) createMutable(ctx context.Context, r io.Reader, o MutableOptions, key *mutable.Key) (MutableResult, error) {
	if n.config.Client == nil {
		return MutableResult{}, ErrNoClient
	}
	msg := client.CreateMutable{Key: key, Format: o.Format.shares(), Params: n.config.Client.Params, Authority: o.Authority}
	if o.Format == "" {
		o.Format = SDMF
	}
	if _, err := ParseFormat(string(o.Format)); err != nil {
		return MutableResult{}, err
	}
	if o.Params != nil {
		msg.Params = *o.Params
	}
	if err := msg.Params.Validate(); err != nil {
		return MutableResult{}, err
	}
	if key == nil && len(o.PrivateKey) > 0 {
		given, err := mutable.ParsePEM(o.PrivateKey)
		if err != nil {
			return MutableResult{}, err
		}
		msg.Key = given
	}
	if o.Format == MDMF {
		msg.Params.SegmentSize = mutable.DefaultSegmentSize
	}
	in, ctx, cancel, err := n.mutableInput(ctx, r, limitOf(msg.Format))
	if err != nil {
		return MutableResult{}, err
	}
	defer cancel()
	release, err := n.holdWhole(ctx, msg.Format, in.size)
	if err != nil {
		return MutableResult{}, errors.Join(err, in.Close())
	}
	defer release()
	msg.Content, msg.Size = in, in.size
	t := n.transfers.begin(Publish, grid.StorageIndex{}, in.size)
	return n.written(ctx, t, o.Authority, o.Keep, func(replyTo *env.PID) any {
		msg.ReplyTo = replyTo
		return msg
	})
}

// limitOf is the longest content that is written as a file of some format, in bytes.
func limitOf(f mutable.Format) int64 {
	if f == mutable.MDMF {
		return file.MaxSize
	}
	return MaxModify
}

func formatOf(c file.Mutable) mutable.Format {
	if c.MDMF() {
		return mutable.MDMF
	}
	return mutable.SDMF
}

// mutableInput reads what is to be written.
func (n *Node) mutableInput(ctx context.Context, r io.Reader, most int64) (*input, context.Context, context.CancelFunc, error) {
	ctx, cancel := n.until(ctx)
	in, err := n.spool(ctx, io.LimitReader(r, most+1), -1, &keyMaker{})
	if err == nil && in.size > most {
		err = errors.Join(fmt.Errorf("%w: more than %d bytes to write into a mutable file of this format", mutable.ErrSize, most), in.Close())
	}
	if err != nil {
		cancel()
		return nil, nil, nil, n.cause(err)
	}
	return in, ctx, cancel, nil
}

// written asks the client branch to write, and waits for what comes of it.
func (n *Node) written(ctx context.Context, t *ongoingTransfer, a lease.Authority, keep bool, request func(replyTo *env.PID) any) (result MutableResult, err error) {
	defer func() { t.end(err) }()
	var renewal []byte
	if keep {
		text, err := n.renewalText(a)
		if err != nil {
			return MutableResult{}, err
		}
		renewal = text
	}
	m, err := env.Ask[client.MutableWritten](ctx, n.system, n.root,
		func(replyTo *env.PID) any { return actors.ToClient{Message: request(replyTo)} },
		func(replyTo *env.PID) any { return actors.ToClient{Message: client.Cancel{ReplyTo: replyTo}} })
	if err != nil {
		return MutableResult{}, n.cause(public(err))
	}
	t.placed(m.Placement, m.Happiness)
	result = MutableResult{
		Cap: m.Cap.String(), ReadCap: m.Cap.ReadOnly().String(), Size: m.Version.Size, Version: Version{m.Version},
		Happiness: m.Happiness, Placement: m.Placement, LeftOut: leftOut(m.LeftOut),
	}
	if len(a.Holdings) > 0 {
		result.Unrenewed = n.renewing(ctx, renewal, m.Labels)
	}
	return result, nil
}

// mutableCap reads a capability of a mutable file. That of a directory is none, so
// that nobody overwrites one by mistake.
func mutableCap(text string) (file.Mutable, error) {
	parsed, err := file.Parse(strings.TrimSpace(text))
	if err != nil {
		return file.Mutable{}, fmt.Errorf("%w: %w", ErrCap, err)
	}
	if c, ok := parsed.(file.Mutable); ok {
		return c, nil
	}
	return file.Mutable{}, fmt.Errorf("%w: %s is not the kind of a mutable file", ErrCap, parsed.Kind())
}

// Overwrite makes what it reads from r the content of a mutable file. Errors:
// ErrCap, ErrReadOnly, ErrConflict, ErrNotEnoughShares, ErrTooFewServers. With the
// last one the version may be written all the same, and be lost again while the few
// servers that have it are away.
func (n *Node) Overwrite(ctx context.Context, capability string, r io.Reader, how ...Option) (MutableResult, error) {
	return n.writeMutable(ctx, capability, r, client.WriteMutable{}, how)
}

// WriteAt writes what it reads from r into a mutable file at an offset, which may
// lie up to 64 MiB beyond its end: what is between becomes zero bytes. More than
// MaxPart bytes are several versions, each made of the one before: what fails later
// leaves the first ones written, and so does who writes in between, which is
// ErrConflict. Errors are those of Overwrite.
func (n *Node) WriteAt(ctx context.Context, capability string, r io.Reader, offset int64, how ...Option) (MutableResult, error) {
	if offset < 0 {
		return MutableResult{}, fmt.Errorf("%w: offset %d", errRange, offset)
	}
	return n.writeParts(ctx, capability, r, client.WriteMutable{Part: true, Offset: offset}, how)
}

// writeParts writes one part after the other.
func (n *Node) writeParts(ctx context.Context, capability string, r io.Reader, msg client.WriteMutable, how []Option) (MutableResult, error) {
	part := bufio.NewReader(r)
	for {
		result, err := n.writeMutable(ctx, capability, io.LimitReader(part, MaxPart), msg, how)
		if err != nil {
			return result, err
		}
		switch _, err := part.Peek(1); {
		case errors.Is(err, io.EOF):
			return result, nil
		case err != nil:
			return result, n.cause(err)
		}
		if msg.Offset >= 0 {
			msg.Offset += MaxPart
		}
		how = append(how[:len(how):len(how)], Onto(result.Version))
	}
}

// Append writes what it reads from r at the end of a mutable file. Errors are those
// of Overwrite, and what WriteAt says of more than MaxPart bytes is so here.
func (n *Node) Append(ctx context.Context, capability string, r io.Reader, how ...Option) (MutableResult, error) {
	return n.writeParts(ctx, capability, r, client.WriteMutable{Part: true, Offset: -1}, how)
}

func (n *Node) writeMutable(ctx context.Context, capability string, r io.Reader, msg client.WriteMutable, how []Option) (MutableResult, error) {
	if n.config.Client == nil {
		return MutableResult{}, ErrNoClient
	}
	c, err := mutableCap(capability)
	if err != nil {
		return MutableResult{}, err
	}
	if !c.Writable() {
		return MutableResult{}, ErrReadOnly
	}
	if err := n.prohibited.permit(c); err != nil {
		return MutableResult{}, err
	}
	o := optionsOf(how)
	most := int64(MaxPart)
	if !msg.Part {
		most = limitOf(formatOf(c))
	}
	in, ctx, cancel, err := n.mutableInput(ctx, r, most)
	if err != nil {
		return MutableResult{}, err
	}
	defer cancel()
	if !msg.Part {
		release, err := n.holdWhole(ctx, formatOf(c), in.size)
		if err != nil {
			return MutableResult{}, errors.Join(err, in.Close())
		}
		defer release()
	}
	msg.Cap, msg.Content, msg.Size, msg.Authority, msg.Params = c, in, in.size, o.authority, n.config.Client.Params
	if o.onto != nil {
		msg.Base = &o.onto.prefix
	}
	t := n.transfers.begin(Publish, c.StorageIndex(), in.size)
	return n.written(ctx, t, o.authority, false, func(replyTo *env.PID) any {
		msg.ReplyTo = replyTo
		return msg
	})
}

// ReadMutable is the content of a mutable file of up to MaxModify bytes, and which
// version that is. Errors: ErrCap, ErrNotEnoughShares.
func (n *Node) ReadMutable(ctx context.Context, capability string, how ...Option) ([]byte, Version, error) {
	return n.readMutable(ctx, capability, false, how)
}

func (n *Node) readMutable(ctx context.Context, capability string, remembered bool, how []Option) (content []byte, v Version, err error) {
	if n.config.Client == nil {
		return nil, Version{}, ErrNoClient
	}
	c, err := mutableCap(capability)
	if err == nil {
		err = n.prohibited.permit(c)
	}
	if err != nil {
		return nil, Version{}, err
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	cancelled := func(replyTo *env.PID) any { return actors.ToClient{Message: client.Cancel{ReplyTo: replyTo}} }
	var cancelling any
	call := n.system.Open(ctx, n.root, func(replyTo *env.PID) any {
		cancelling = cancelled(replyTo)
		return actors.ToClient{Message: client.ReadMutable{ReplyTo: replyTo, Cap: c, Length: -1, Credit: MaxModify,
			Remembered: remembered, Authority: AuthorityOf(how...), Params: n.config.Client.Params}}
	}, cancelled)
	defer call.Close()
	t := n.transfers.begin(Retrieve, c.StorageIndex(), -1)
	defer func() { t.end(err) }()
	for {
		reply, err := call.Next()
		if err != nil {
			return nil, v, n.cause(err)
		}
		switch m := reply.(type) {
		case client.MutableOpened:
			v = Version{m.Version}
			content = nil // what came before was of another one
			if v.Size() > MaxModify {
				call.Send(cancelling)
				return nil, v, fmt.Errorf("%w: a mutable file of %d bytes, at most %d can be changed as a whole", mutable.ErrSize, v.Size(), MaxModify)
			}
		case client.Piece:
			content = append(content, m.Data...)
			t.done.Store(int64(len(content)))
			m.Release()
		case client.RangeEnd:
			n.counters.getBytes.Add(float64(len(content)))
			return content, v, nil
		case error:
			n.counters.getErrors.Inc()
			return nil, v, n.cause(public(m))
		}
	}
}

// modifyTries is how often Modify begins anew, modifyPause the first rest before
// that, which doubles each time up to modifyLongest.
const (
	modifyTries   = 30
	modifyPause   = 20 * time.Millisecond
	modifyLongest = 2 * time.Second
)

// Modify changes a mutable file of up to MaxModify bytes: change is given what it
// is and returns what it is to be. It is called again if somebody else has written
// meanwhile, as long as it is sure that nothing of ours was; so the change is made
// once or, if there is an error, perhaps. A change that returns nil and no error
// leaves all as it is. Errors: ErrConflict, those of Overwrite, and change's own.
func (n *Node) Modify(ctx context.Context, capability string, change func(old []byte) ([]byte, error), how ...Option) (MutableResult, error) {
	pause, onto := modifyPause, optionsOf(how).onto
	for tries := 1; ; tries++ {
		old, v, err := n.readMutable(ctx, capability, tries == 1 && onto == nil, how)
		if err == nil && onto != nil && v != *onto {
			err = fmt.Errorf("%w: it is version %v by now", ErrConflict, v)
		}
		if err != nil {
			return MutableResult{}, err
		}
		changed, err := change(old)
		if tries == 1 && (err != nil || changed == nil) {
			continue // what is remembered may be old: only what is there now counts
		}
		if err != nil || changed == nil {
			return MutableResult{Size: v.Size(), Version: v}, err
		}
		result, err := n.Overwrite(ctx, capability, bytes.NewReader(changed), append(how[:len(how):len(how)], Onto(v))...)
		var conflict *client.ConflictError
		if !errors.As(err, &conflict) || !conflict.Clean || onto != nil || tries == modifyTries {
			return result, err
		}
		if tries == 1 {
			continue // what was remembered was old
		}
		select {
		case <-ctx.Done():
			return MutableResult{}, context.Cause(ctx)
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, modifyLongest)
	}
}

// MutableFile is a version of a mutable file that is open: Open returns one for
// such a capability.
type MutableFile interface {
	File
	// Version is the one that is read, as long as there is no newer one:
	// WriteRange then fails with ErrChanged.
	Version() Version
}

// remoteMutable is read by the actor of its file.
type remoteMutable struct {
	node    *Node
	ctx     context.Context
	cancel  context.CancelFunc
	cap     file.Mutable
	actor   *env.PID
	version Version
	whole   fetched
	closed  sync.Once
}

var _ MutableFile = (*remoteMutable)(nil)

func (n *Node) openMutable(ctx context.Context, c file.Mutable, a lease.Authority) (File, error) {
	if _, ok := c.ReadKey(); !ok {
		return nil, fmt.Errorf("%w: a capability of the kind %s can't be read as a file", ErrCap, c.Kind())
	}
	ctx, cancel := n.until(ctx)
	opened, err := env.Ask[client.MutableOpened](ctx, n.system, n.root,
		func(replyTo *env.PID) any {
			return actors.ToClient{Message: client.OpenMutable{ReplyTo: replyTo, Cap: c, Authority: a, Params: n.config.Client.Params}}
		},
		func(replyTo *env.PID) any { return actors.ToClient{Message: client.Cancel{ReplyTo: replyTo}} })
	if err != nil {
		cancel()
		return nil, n.cause(public(err))
	}
	return &remoteMutable{node: n, ctx: ctx, cancel: cancel, cap: c, actor: opened.PID, version: Version{opened.Version}}, nil
}

// Size implements File.
func (f *remoteMutable) Size() int64 { return f.version.Size() }

// Version implements MutableFile.
func (f *remoteMutable) Version() Version { return f.version }

// Close implements File.
func (f *remoteMutable) Close() error {
	f.closed.Do(func() {
		f.node.system.Env.Spawn.Send(f.actor, client.CloseFile{})
		f.cancel()
		f.whole.close()
	})
	return nil
}

// MutableCap is the write capability of the mutable file that has a key, an RSA
// key of 2048 bits in PEM.
func MutableCap(privateKey []byte, f Format) (string, error) {
	if _, err := ParseFormat(string(f)); err != nil {
		return "", err
	}
	key, err := mutable.ParsePEM(privateKey)
	if err != nil {
		return "", err
	}
	return key.Capability(f.shares()).String(), nil
}
