package server

import (
	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/lease"
)

// NewLedger lets a test have a ledger alone.
func NewLedger(e *env.Env, c *Config) env.Producer { return newLedger(e, c) }

// Renew, Cancel and Expire are messages to a ledger.
func Renew(replyTo *actor.PID, g lease.Grant, ids []lease.ShareID) any {
	return workOnLeases{replyTo: replyTo, grant: g, ids: ids, work: renewLeases}
}

// Cancel ends leases of a label's own.
func Cancel(replyTo *actor.PID, g lease.Grant, ids []lease.ShareID) any {
	return workOnLeases{replyTo: replyTo, grant: g, ids: ids, work: cancelLeases, collector: replyTo}
}

// Expire ends leases that have expired.
func Expire(replyTo *actor.PID, ids []lease.LeaseID) any { return expire{replyTo, ids} }
