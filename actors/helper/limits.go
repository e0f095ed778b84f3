package helper

import (
	"time"

	"github.com/tarn-grid/tarn/transport/wire"
)

// Every bound of a helper.
const (
	// maxSessions is how many connections are open at a time, maxJobs how many
	// files are under way.
	maxSessions = 500
	maxJobs     = 64
	// maxFinished is how many results are remembered.
	maxFinished = 10000
	// window is how many parts of a ciphertext may come unanswered, early how
	// many frames before the client was found to be good for anything.
	window = 4
	early  = 2
	// maxRequests is how many requests a session may make besides data.
	maxRequests = 16
	// helloWithin is how long a connection may stay silent at first.
	helloWithin = 30 * time.Second
	// checkTime is how long servers may take to say whether they accept the
	// client's certificates.
	checkTime = time.Minute
	// lifeSign is how often a client is told that its file is being placed.
	lifeSign = 10 * time.Second
	// idleTime is how long a job waits for a client that went away.
	idleTime = 10 * time.Minute
	// keepTime is how long a ciphertext is kept whose client went away, and the
	// result of a job: as long as certificates for a helper last.
	keepTime = 24 * time.Hour
	// sweepInterval is how often what is older is looked for.
	sweepInterval = time.Hour
)

// maxPart is the longest part of a ciphertext.
const maxPart = wire.MaxHelpData
