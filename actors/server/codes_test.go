package server

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

func TestEveryRefusalHasACode(t *testing.T) {
	quota := &lease.OverQuotaError{Limit: 10, Used: 4}
	for _, c := range []struct {
		err  error
		code wire.Code
	}{
		{lease.ErrMalformed, wire.BadRequest},
		{lease.ErrForged, wire.BadRequest},
		{lease.ErrNoSuchRoot, wire.NotAccepted},
		{lease.ErrAuthorityExpired, wire.AuthorityExpired},
		{lease.ErrAuthorityRevoked, wire.AuthorityRevoked},
		{&lease.NotPermittedError{Limit: lease.LimitMaxSize}, wire.NotPermitted},
		{lease.ErrWrongServer, wire.NotPermitted},
		{lease.ErrWrongBeneficiary, wire.NotPermitted},
		{lease.ErrLeaseLabel, wire.BadRequest},
		{quota, wire.OverQuota},
		{lease.ErrServerFull, wire.ServerFull},
		{lease.ErrNoShare, wire.NoSuchShare},
		{lease.ErrNoLease, wire.NoSuchShare},
		{lease.ErrComing, wire.Busy},
		{lease.ErrNoReservation, wire.Abandoned},
		{errors.New("a path of this machine"), wire.Internal},
	} {
		e := wireError(fmt.Errorf("wrapped: %w", c.err), true)
		if e.Code != c.code || e.Text == "" || e.Validate() != nil {
			t.Errorf("%v became %+v", c.err, e)
		}
		if c.code == wire.Internal && strings.Contains(e.Text, "machine") {
			t.Errorf("internals were told: %q", e.Text)
		}
	}
	if e := wireError(quota, true); e.Free == nil || *e.Free != 6 {
		t.Errorf("with read-usage: %+v", e)
	}
	if e := wireError(quota, false); e.Free != nil {
		t.Errorf("without read-usage: %+v", e)
	}
}

func TestReadSizeKeepsToTheMemory(t *testing.T) {
	for n := 1; n <= maxPulls; n++ {
		size := readSize(n)
		if size < smallestRead || size > largestRead {
			t.Fatalf("%d uploads read %d at a time", n, size)
		}
		if total := int64(n) * pullReads * size; size > smallestRead && total > pullMemory {
			t.Fatalf("%d uploads read %d bytes ahead", n, total)
		}
		if next := readSize(n + 1); next > size {
			t.Fatalf("%d uploads read %d at a time, one more %d", n, size, next)
		}
	}
	if readSize(1) != largestRead {
		t.Errorf("a single upload reads %d at a time", readSize(1))
	}
}
