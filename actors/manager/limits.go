package manager

import "time"

// Every bound of an account manager.
const (
	// maxSessions is how many connections are open at a time; less than the
	// transport's bound, so that a new one can take the place of the oldest.
	maxSessions = 1000
	// requests is how many a session may have outstanding, maxRequests how many
	// it may make: a client makes a connection for each card.
	requests    = 4
	maxRequests = 64
	// maxChanges is how many changes may wait for the disk.
	maxChanges = 1000
	// listStep is how many members one answer lists, listKeysStep how many with
	// their keys, of which each may have one for every server.
	listStep     = 1000
	listKeysStep = 50
	// helloWithin is how long a connection may stay silent at first.
	helloWithin = 30 * time.Second
)
