package server

import (
	"fmt"

	"github.com/tarn-grid/tarn/file/immutable"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// sink is where the bytes of one share go: through the verifier, into memory
// for a small share and into an incoming file for a larger one. Its methods
// block; one goroutine at a time uses it.
type sink struct {
	size  int64
	num   grid.ShareNum
	store Store

	verifier *immutable.ShareVerifier
	memory   []byte
	file     Incoming
	have     int64
}

// write takes the next bytes of the share.
func (s *sink) write(frames []wire.Frame) error {
	if err := s.open(); err != nil {
		return err
	}
	for _, f := range frames {
		if err := s.take(f.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

func (s *sink) open() (err error) {
	switch {
	case s.verifier != nil:
		return nil
	case s.size <= s.store.SmallShare():
		s.memory = make([]byte, 0, s.size)
	default:
		if s.file, err = s.store.Incoming(); err != nil {
			return fmt.Errorf("take in a share: %w", err)
		}
	}
	s.verifier = immutable.NewShareVerifier(s.num, s.size)
	return nil
}

func (s *sink) take(b []byte) error {
	if _, err := s.verifier.Write(b); err != nil {
		return fmt.Errorf("%w: %w", errBadShare, err)
	}
	if s.file == nil {
		s.memory = append(s.memory, b...)
		return nil
	}
	if _, err := s.file.WriteAt(b, s.have); err != nil {
		return fmt.Errorf("write a share: %w", err)
	}
	s.have += int64(len(b))
	return nil
}

// seal holds that the share is whole and right, and makes a file durable. Small
// bodies become durable with their lease.
func (s *sink) seal() (lease.Body, error) {
	hash, _, err := s.verifier.Finish()
	if err != nil {
		return lease.Body{}, fmt.Errorf("%w: %w", errBadShare, err)
	}
	body := lease.Body{UEBHash: lease.UEBHash(hash), Size: s.size, Inline: s.memory}
	if s.file != nil {
		if body.File, err = s.file.Seal(); err != nil {
			return lease.Body{}, fmt.Errorf("make a share durable: %w", err)
		}
	}
	return body, nil
}

// discard leaves nothing behind. It may be repeated.
func (s *sink) discard() error {
	if s.file == nil {
		return nil
	}
	return s.file.Discard()
}
