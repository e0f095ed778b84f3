// Package transfer decides how one file moves: Upload chooses who stores
// which share and what to do when somebody fails, Window which segments are
// held while servers pull, Download which shares to read and whom to ask
// instead of one that lies or lags. Each is a plain value with a Step
// function: an event goes in with the time, effects come out in order.
// Whoever carries the effects out (the upload and download actors) reports
// what became of them as further events.
//
// The package is pure: it moves no bytes and knows no clock, goroutine or
// network. The same events give the same effects.
package transfer

import "errors"

// Why a share or a server was given up.
var (
	ErrLinkLost  = errors.New("the connection was lost and did not come back in time")
	ErrStalled   = errors.New("the server stopped reading the share, or reads too slowly")
	ErrSilent    = errors.New("the server was asked and said nothing")
	ErrTooSlow   = errors.New("the server held all others back")
	ErrNoRoom    = errors.New("the account's quota or the server's disk is too full")
	ErrPassedOn  = errors.New("the server would rather not have the share, and passed it on")
	ErrOtherFile = errors.New("the server holds other content under this storage index")
)
