package tarn

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
)

// inMemory is up to how many bytes of input are held instead of spooled.
const inMemory = 1 << 20

// Put stores what it reads from r. It returns when enough distinct servers
// hold the file's shares durably. Input beyond a megabyte is spooled to the
// node's folder first, encrypted under a key that is never written down: its
// size and, with convergence, its key have to be known before the first block
// is made.
func (n *Node) Put(ctx context.Context, r io.Reader, o PutOptions) (PutResult, error) {
	c := n.config.Client
	if c == nil {
		return PutResult{}, ErrNoClient
	}
	params := c.Params
	if o.Params != nil {
		params = *o.Params
	}
	if err := params.Validate(); err != nil {
		return PutResult{}, err
	}
	helper, err := n.config.helperFor(o)
	if err != nil {
		return PutResult{}, err
	}
	ctx, cancel := n.until(ctx)
	defer cancel()
	secret := c.Convergence
	if o.RandomKey {
		secret = nil
	}
	keys, err := newKeyMaker(o.Size, params, secret)
	if err != nil {
		return PutResult{}, err
	}
	in, err := n.take(ctx, r, o.Size, keys)
	if err != nil {
		return PutResult{}, n.cause(err)
	}
	if o.Size >= 0 && in.size != o.Size {
		return PutResult{}, errors.Join(fmt.Errorf("%w: %d bytes came where %d were announced", immutable.ErrSize, in.size, o.Size), in.Close())
	}
	if in.size <= file.LITThreshold {
		return literal(in)
	}
	spec := client.PutSpec{Source: in, Size: in.size, Params: params, Helper: helper, OrDirectly: o.OrDirectly}
	if spec.Key, err = keys.key(ctx, in, params); err != nil {
		return PutResult{}, errors.Join(err, in.Close())
	}
	t := n.transfers.begin(Upload, indexOf(file.CHK{Key: spec.Key}), in.size)
	o.Progress = t.progressing(o.Progress)
	result, err := n.upload(ctx, spec, o)
	n.countPut(result, err)
	t.placed(result.Placement, result.Happiness)
	err = n.cause(public(err))
	t.end(err)
	return result, err
}

func (n *Node) countPut(r PutResult, err error) {
	if err != nil {
		n.counters.putErrors.Inc()
		return
	}
	n.counters.puts.Inc()
	n.counters.putBytes.Add(float64(r.Size))
}

// upload lets the client branch store what was spooled.
func (n *Node) upload(ctx context.Context, spec client.PutSpec, o PutOptions) (PutResult, error) {
	var renewal []byte
	if o.Keep {
		text, err := n.renewalText(o.Authority)
		if err != nil {
			return PutResult{}, errors.Join(err, spec.Source.Close())
		}
		renewal = text
	}
	m, err := progressing[client.Stored](ctx, n, o.Progress, func(replyTo *env.PID) any {
		return actors.ToClient{Message: client.Put{ReplyTo: replyTo, File: spec, Authority: o.Authority}}
	})
	if err != nil {
		return PutResult{}, err
	}
	result := PutResult{
		Cap: m.Cap.WithKey(spec.Key).String(), Size: m.Cap.Size, Pushed: m.Pushed, Found: m.Found,
		Happiness: m.Happiness, Placement: m.Placement, LeftOut: leftOut(m.LeftOut), NotHelped: m.NotHelped,
	}
	if len(o.Authority.Holdings) > 0 {
		result.Unrenewed = n.renewing(ctx, renewal, m.Labels)
	}
	return result, nil
}

func leftOut(list []client.LeftOut) []ServerError {
	var out []ServerError
	for _, l := range list {
		out = append(out, ServerError{l.Server, l.Name, l.Err})
	}
	return out
}

func literal(in *input) (PutResult, error) {
	return PutResult{Cap: file.LIT{Data: string(in.memory)}.String(), Size: in.size}, in.Close()
}

// keyMaker derives the key of a file: a random one without a secret, else from
// the plaintext, while that is spooled if its size is known by then.
type keyMaker struct {
	secret []byte
	hasher *immutable.KeyHasher
}

func newKeyMaker(size int64, p file.Params, secret []byte) (*keyMaker, error) {
	k := &keyMaker{secret: secret}
	if len(secret) == 0 || size <= inMemory {
		return k, nil
	}
	l, err := immutable.NewLayout(size, p)
	if err == nil {
		k.hasher = immutable.NewKeyHasher(l, secret)
	}
	return k, err
}

// key is the key, once the file was spooled.
func (k *keyMaker) key(ctx context.Context, in *input, p file.Params) (file.Key, error) {
	if len(k.secret) == 0 {
		var key file.Key
		_, _ = rand.Read(key[:]) // never fails
		return key, nil
	}
	if k.hasher != nil {
		return k.hasher.Key()
	}
	l, err := immutable.NewLayout(in.size, p)
	if err != nil {
		return file.Key{}, err
	}
	h := immutable.NewKeyHasher(l, k.secret)
	if _, err := in.writeTo(ctx, h); err != nil {
		return file.Key{}, fmt.Errorf("hash the file: %w", err)
	}
	return h.Key()
}

// onlyWriter and withContext keep io.CopyBuffer to its buffer.
type onlyWriter struct{ io.Writer }

type withContext struct {
	ctx context.Context
	r   io.Reader
}

func (w withContext) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.r.Read(p)
}

// input is a file on its way in: in memory, or on disk under a key that only
// this value has.
type input struct {
	size    int64
	memory  []byte // all of it, if spool is nil
	release func() // gives the memory back
	spool   *os.File
	cipher  cipher.Block
}

// Spooled is input that was read to its end before anybody knows what is to
// become of it. Put takes it as it is, without reading it once more.
type Spooled interface {
	io.ReadCloser
	// Size in bytes.
	Size() int64
}

// spooled is read from in, until Put takes that.
type spooled struct {
	io.Reader
	in   *input
	size int64
}

func (s *spooled) Size() int64 { return s.size }

// Close implements Spooled. What Put took is Put's.
func (s *spooled) Close() error {
	if s.in == nil {
		return nil
	}
	in := s.in
	s.in = nil
	return in.Close()
}

// Spool reads r to its end, into memory or beyond a megabyte into the node's
// folder, as Put does. The result has to be closed.
func (n *Node) Spool(ctx context.Context, r io.Reader) (Spooled, error) {
	ctx, cancel := n.until(ctx)
	defer cancel()
	in, err := n.spool(ctx, r, -1, &keyMaker{})
	if err != nil {
		return nil, n.cause(err)
	}
	return &spooled{Reader: io.NewSectionReader(in, 0, in.size), in: in, size: in.size}, nil
}

// take is what was spooled already, or spools r.
func (n *Node) take(ctx context.Context, r io.Reader, size int64, keys *keyMaker) (*input, error) {
	s, ok := r.(*spooled)
	if !ok || s.in == nil {
		return n.spool(ctx, r, size, keys)
	}
	in := s.in
	s.in, s.Reader = nil, strings.NewReader("")
	keys.hasher = nil // it has seen nothing of it
	return in, nil
}

// spool reads r to its end. size is how much that should be, or -1.
func (n *Node) spool(ctx context.Context, r io.Reader, size int64, keys *keyMaker) (*input, error) {
	r = withContext{ctx, r}
	if size <= inMemory {
		in, whole, err := readInto(r, size)
		if err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
		if whole {
			return in, nil
		}
		defer in.release()
		if size >= 0 {
			return nil, fmt.Errorf("%w: more than the %d bytes that were announced", immutable.ErrSize, size)
		}
		r = io.MultiReader(bytes.NewReader(in.memory), r)
	}
	in, err := n.newSpool()
	if err != nil {
		return nil, err
	}
	if err := in.fill(r, keys); err != nil {
		return nil, errors.Join(fmt.Errorf("read the file: %w", err), in.Close())
	}
	return in, nil
}

// readInto reads what fits into memory, and a byte more.
func readInto(r io.Reader, size int64) (in *input, whole bool, err error) {
	if size < 0 {
		size = inMemory
	}
	buf, release := immutable.SegmentBuffer(int(size) + 1)
	n, err := io.ReadFull(r, buf)
	whole = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !whole {
		release()
		return nil, false, err
	}
	return &input{size: int64(n), memory: buf[:n], release: release}, whole, nil
}

// fill writes the file and hashes it beside that.
func (in *input) fill(r io.Reader, keys *keyMaker) error {
	w := &cipher.StreamWriter{S: in.stream(0), W: in.spool}
	if keys.hasher == nil {
		var err error
		in.size, err = io.CopyBuffer(onlyWriter{w}, r, make([]byte, 256<<10))
		return err
	}
	pr, pw := io.Pipe()
	hashed := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(onlyWriter{keys.hasher}, pr, make([]byte, 256<<10))
		pr.CloseWithError(err)
		hashed <- err
	}()
	var err error
	in.size, err = io.CopyBuffer(onlyWriter{w}, io.TeeReader(r, pw), make([]byte, 256<<10))
	pw.CloseWithError(err)
	return errors.Join(err, <-hashed)
}

// newSpool makes a file that has no name any more when it is returned.
func (n *Node) newSpool() (*input, error) {
	f, err := os.CreateTemp(n.folder.path("tmp"), "put-*")
	if err != nil {
		return nil, fmt.Errorf("spool the file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("spool the file: %w", err), f.Close())
	}
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	return &input{spool: f, cipher: block}, err
}

// stream is the key stream from an offset on that is a multiple of 16.
func (in *input) stream(offset int64) cipher.Stream {
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint64(counter[8:], uint64(offset/aes.BlockSize))
	return cipher.NewCTR(in.cipher, counter[:])
}

// writeTo hands all of it to w.
func (in *input) writeTo(ctx context.Context, w io.Writer) (int64, error) {
	if in.spool == nil {
		n, err := w.Write(in.memory)
		return int64(n), err
	}
	return io.CopyBuffer(onlyWriter{w}, withContext{ctx, io.NewSectionReader(in, 0, in.size)}, make([]byte, 256<<10))
}

// ReadAt implements client.Content.
func (in *input) ReadAt(p []byte, off int64) (int, error) {
	if in.spool == nil {
		return bytes.NewReader(in.memory).ReadAt(p, off)
	}
	n, err := in.spool.ReadAt(p, off)
	s := in.stream(off)
	var skip [aes.BlockSize]byte
	s.XORKeyStream(skip[:off%aes.BlockSize], skip[:off%aes.BlockSize])
	s.XORKeyStream(p[:n], p[:n])
	return n, err
}

// Close implements client.Content.
func (in *input) Close() error {
	if in.spool == nil {
		in.release()
		return nil
	}
	return in.spool.Close()
}

// Cap computes the capability that storing r would give, and stores nothing.
// It reads r twice.
func Cap(ctx context.Context, r io.ReadSeeker, p file.Params, convergence []byte) (string, error) {
	c, err := immutable.CapOf(seekerWithContext{withContext{ctx, r}, r}, p, convergence)
	if err != nil {
		return "", err
	}
	return c.String(), nil
}

type seekerWithContext struct {
	withContext
	io.Seeker
}
