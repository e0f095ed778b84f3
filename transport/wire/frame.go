package wire

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
)

// A frame on the wire, all numbers big-endian:
//
//	u32 length of the head (1 to MaxHead)
//	u32 length of the body (0 to MaxBody)
//	head: CBOR [kind, id*2 + 1 if it is an answer, message]
//	body: raw bytes
const prefixSize = 8

// MaxID is the largest Frame.ID.
const MaxID = 1<<63 - 1

// smallFrame is up to which size head and body are written at once.
const smallFrame = 64 << 10

// head is the CBOR part of a frame.
type head struct {
	_       struct{} `cbor:",toarray"`
	Kind    Kind
	ID      uint64
	Message cbor.RawMessage
}

// Check validates the frame as the other side would: the message, and that
// the body goes with it.
func (f Frame) Check() error {
	if f.Message == nil {
		return malformed("frame without a message")
	}
	if f.ID > MaxID || (f.Answer && f.ID == 0) {
		return malformed("request id %d", f.ID)
	}
	if err := f.Message.Validate(); err != nil {
		return fmt.Errorf("%T: %w", f.Message, err)
	}
	if n := f.BodySize(); n > MaxBody {
		return fmt.Errorf("%w: body of %d bytes, at most %d", ErrTooLarge, n, MaxBody)
	}
	if err := checkBody(f.Message, f.BodySize()); err != nil {
		return fmt.Errorf("%T: %w", f.Message, err)
	}
	return nil
}

// AppendHead appends everything of the frame but its body to dst. It fails
// with ErrMalformed or ErrTooLarge where the other side would refuse it.
func (f Frame) AppendHead(dst []byte) ([]byte, error) {
	if err := f.Check(); err != nil {
		return dst, err
	}
	message, err := encoding.Marshal(f.Message)
	if err != nil {
		return dst, fmt.Errorf("encode %T: %w", f.Message, err)
	}
	h, err := encoding.Marshal(head{Kind: f.Message.Kind(), ID: packID(f.ID, f.Answer), Message: message})
	if err != nil {
		return dst, fmt.Errorf("encode head of %T: %w", f.Message, err)
	}
	if len(h) > MaxHead {
		return dst, fmt.Errorf("%w: head of %d bytes, at most %d", ErrTooLarge, len(h), MaxHead)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(h)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(f.BodySize()))
	return append(dst, h...), nil
}

func packID(id uint64, answer bool) uint64 {
	id <<= 1
	if answer {
		id |= 1
	}
	return id
}

// WriteFrame writes f with one Write if it is small; the parts of a large
// body are written as they are, without a copy. It does not release f.
func WriteFrame(w io.Writer, f Frame) error {
	size := f.BodySize()
	buf, release := Buffer(min(prefixSize+MaxHead, smallFrame))
	defer release()
	out, err := f.AppendHead(buf[:0])
	if err != nil {
		return err
	}
	if len(out)+size <= smallFrame {
		for _, p := range f.Body {
			out = append(out, p...)
		}
		_, err = w.Write(out)
		return err
	}
	if _, err := w.Write(out); err != nil {
		return err
	}
	for _, p := range f.Body {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// Prefix is the part of a frame before its head: what is still to be read.
type Prefix struct{ Head, Body int }

// ReadPrefix reads and checks the lengths of the next frame. io.EOF means
// that the frames ended in good order, ErrTooLarge that one is larger than
// MaxHead and maxBody allow.
func ReadPrefix(r io.Reader, maxBody int) (Prefix, error) {
	var b [prefixSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Prefix{}, err
	}
	h, n := binary.BigEndian.Uint32(b[:4]), binary.BigEndian.Uint32(b[4:])
	if h == 0 {
		return Prefix{}, malformed("empty head")
	}
	if h > MaxHead || uint64(n) > uint64(maxBody) {
		return Prefix{}, fmt.Errorf("%w: head %d, body %d bytes; at most %d and %d", ErrTooLarge, h, n, MaxHead, maxBody)
	}
	return Prefix{Head: int(h), Body: int(n)}, nil
}

// ReadRest reads the frame that p announced. Its body lies in a pooled buffer
// until Frame.Release.
func ReadRest(r io.Reader, p Prefix) (Frame, error) {
	f, err := readHead(r, p.Head)
	if err != nil {
		return Frame{}, err
	}
	if err := checkBody(f.Message, p.Body); err != nil {
		return Frame{}, fmt.Errorf("%T: %w", f.Message, err)
	}
	if p.Body == 0 {
		return f, nil
	}
	body, release := Buffer(p.Body)
	if _, err := io.ReadFull(r, body); err != nil {
		release()
		return Frame{}, inFrame(err)
	}
	return f.WithBody(release, body), nil
}

// ReadFrame is ReadPrefix and ReadRest.
func ReadFrame(r io.Reader, maxBody int) (Frame, error) {
	p, err := ReadPrefix(r, maxBody)
	if err != nil {
		return Frame{}, err
	}
	return ReadRest(r, p)
}

func readHead(r io.Reader, n int) (Frame, error) {
	buf, release := Buffer(n)
	defer release() // the CBOR library copies what it decodes
	if _, err := io.ReadFull(r, buf); err != nil {
		return Frame{}, inFrame(err)
	}
	return decodeHead(buf)
}

// inFrame tells an end in the middle of a frame from one between frames. An
// error that merely wraps io.EOF is a lost connection, not an end.
func inFrame(err error) error {
	if err == io.EOF { //nolint:errorlint // see above
		return io.ErrUnexpectedEOF
	}
	return err
}

func decodeHead(b []byte) (Frame, error) {
	var h head
	if err := decoding.Unmarshal(b, &h); err != nil {
		return Frame{}, fmt.Errorf("%w: head: %s", ErrMalformed, err)
	}
	m := newMessage(h.Kind)
	if m == nil {
		return Frame{}, malformed("unknown kind %d", h.Kind)
	}
	f := Frame{ID: h.ID >> 1, Answer: h.ID&1 == 1, Message: m}
	if f.Answer && f.ID == 0 {
		return Frame{}, malformed("answer to no request")
	}
	if err := unmarshal(h.Message, m); err != nil {
		return Frame{}, fmt.Errorf("%T: %w", m, err)
	}
	if err := m.Validate(); err != nil {
		return Frame{}, fmt.Errorf("%T: %w", m, err)
	}
	return f, nil
}
