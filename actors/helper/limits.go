package helper

import (
	"time"

	"github.com/tarn-grid/tarn/transport/wire"
)

// Every bound of a helper.
const (
	// maxSessions is how many connections are open at a time, maxChecks for how
	// many files it is being found out whether servers accept the client, maxJobs
	// how many are under way, half of them one account's at most.
	maxSessions = 500
	maxChecks   = 64
	maxJobs     = 64
	// maxFinished is how many results are remembered.
	maxFinished = 10000
	// partCost is what a ciphertext takes of the disk besides its bytes.
	partCost = 16 << 10
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
	// idleTime is how long a job waits for a client that went away, stallTime for
	// one that is there and sends nothing: it may have to read all that it sent
	// before. quietTime is how long a connection may be open without a job.
	idleTime  = 10 * time.Minute
	stallTime = 30 * time.Minute
	quietTime = 5 * time.Minute
	// keepTime is how long a ciphertext is kept whose client went away, and the
	// result of a job: as long as certificates for a helper last.
	keepTime = 24 * time.Hour
	// sweepInterval is how often what is older is looked for.
	sweepInterval = time.Hour
)

// maxPart is the longest part of a ciphertext.
const maxPart = wire.MaxHelpData
