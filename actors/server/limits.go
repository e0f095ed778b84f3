package server

import (
	"time"

	"github.com/tarn-grid/tarn/transport/wire"
)

// Every bound of a storage server, in bytes unless said otherwise.
const (
	// maxSessions is how many connections are open at a time: at some 100 KiB
	// each, with the transport's windows, a tenth of a small machine. It is less
	// than the transport's bound, so that the listener sees who comes when all
	// are taken, and decides who has to go.
	maxSessions = 1000
	// earlyRequests is how many requests a session may have outstanding before
	// login: enough to ask for a file's shares while logging in.
	earlyRequests = 4
	// sessionRequests is the same after login: enough to fill a link of 100 ms
	// with reads of 128 KiB, and to offer many shares of small files at once.
	sessionRequests = 64
	// maxRequestBody is announced in hello: how much of a share may ride along
	// with its offer.
	maxRequestBody = wire.MaxRequestBody
	// maxAnswering bounds what all answers of one session that are not written
	// to the network yet may hold; beyond it reads wait their turn.
	maxAnswering = 8 << 20
	// earlyAnswering is the same before login, where anybody may connect.
	earlyAnswering = 1 << 20
	// allAnswering bounds what the answers of all sessions with a login hold
	// together, allEarlyAnswering those of the others, so that strangers who
	// don't read what they asked for slow nobody but strangers.
	allAnswering      = 96 << 20
	allEarlyAnswering = 32 << 20
	// answerRetry is how soon a session tries again for which there was no room.
	answerRetry = 100 * time.Millisecond

	// helloWithin is how long a connection may stay silent at first. Through
	// Tor the way takes seconds.
	helloWithin = 30 * time.Second
	// idleWithoutLogin is the period in which a session that never logged in
	// must have been sent earlyFloor bytes of shares, or its end: such a place
	// is there for who reads. A client that comes again gets another one.
	idleWithoutLogin = 5 * time.Minute
	earlyFloor       = 256 << 10

	// maxLogins is how many logins wait for the executor. Each costs up to nine
	// verifications, 0.7 ms: beyond this the wait exceeds a client's patience.
	maxLogins = 256
	// maxRefusals is how many logins a connection without one may be refused: a
	// client tries a reference, a key, and to do without. Another one costs a
	// handshake, on both sides.
	maxRefusals = 4
	// loginWithin is when a login that was not decided is answered with Busy.
	loginWithin = 30 * time.Second
	// renewBefore is how near to its end a reference is replaced at Resume.
	renewBefore = 6 * time.Hour

	// maxPulls is how many uploads a server has in progress, maxPullsOf how
	// many of them below one root, which can sign for as many keys as it likes.
	maxPulls   = 4096
	maxPullsOf = 1024
	// maxStanding is how many offers stand by for other servers to pass them on,
	// maxStandingOf how many of them below one root, standingFor how long each.
	maxStanding   = 4096
	maxStandingOf = 512
	standingFor   = 2 * time.Minute
	// maxPassing is how many offers are being passed on, passWithin how long each
	// may take: less than a client's patience.
	maxPassing = 64
	passWithin = 20 * time.Second
	// pullReads is how many reads of a share are outstanding at a time: two
	// would hide the disk, four hide most of a long way, too.
	pullReads = 4
	// pullMemory is divided among all uploads: what they read ahead together
	// stays near it.
	pullMemory = 32 << 20
	// largestRead and smallestRead bound what one read asks for.
	largestRead  = wire.MaxRequestBody
	smallestRead = 8 << 10
	// leastWindow is the least that an offer lets be asked for at a time; no
	// client that uses few shares or small ones has less encoded.
	leastWindow = 1 << 10
	// pullCheck is the period in which an upload must show pullFloor bytes, or
	// its end. The client's encoder may wait for other servers, so the floor is
	// low: 1 KiB a second.
	pullCheck = time.Minute
	pullFloor = 60 << 10
	// detachedFor is how long an upload waits for its client to come back.
	detachedFor = 10 * time.Minute

	// maxStages is how much one login may have staged at a time, maxMutateTries how
	// often a write that others race with begins anew, maxMutateRead how much a
	// Mutate is answered with.
	maxStages      = 256
	maxMutateTries = 16
	maxMutateRead  = 64 << 10

	// leaseStep is how many leases the ledger makes, renews or ends before others
	// get a turn: it takes some 10 microseconds for each. A request for no more
	// than leaseFew waits for no turn.
	leaseStep = 512
	leaseFew  = 16
	// usageStep is how many accounts and delegates a list of usage asks for
	// before others get a turn.
	usageStep = 64
	// belowStep is how many of a key's delegates are looked at, for a client, in
	// one go.
	belowStep = 512
	// maxDelegated is how many delegates of an account a list of usage names. An
	// account may sign for as many keys as its quota has room for.
	maxDelegated = 20_000
	// freeEvery is how often the disk is asked for its free space; in between
	// the ledger counts.
	freeEvery = 5 * time.Second
	// nearlyFull is below how many bytes it is asked each time.
	nearlyFull = 256 << 20
	// trafficEvery is how often traffic counters are written: what a crash may
	// lose of them.
	trafficEvery = time.Minute

	// collectEvery is the pause between two scans for leases that expired,
	// collectStep how many records a job of the collector looks at, deleteStep
	// how many files of shares one deletes, goneStep how many shares in all: one
	// that lies in the table goes with its record.
	collectEvery = time.Hour
	collectStep  = 2000
	deleteStep   = 64
	goneStep     = 512
	// After a job the collector rests collectRest times as long as it took, so
	// that it has a tenth of the disk's time at most, but at least collectPause
	// and no longer than collectLongest.
	collectRest    = 9
	collectPause   = 20 * time.Millisecond
	collectLongest = time.Minute
	// trafficDays is how long traffic is kept.
	trafficDays = 366

	// maxRelays is how many relays are known: anybody may offer one.
	maxRelays = 64
	// slotPause and slotPauseMost bound the pauses between attempts to get a slot
	// on a relay; they double with each round of all relays.
	slotPause     = time.Second
	slotPauseMost = 5 * time.Minute
	// slotTries is how often in a row a slot may fail to be renewed, or to lead
	// to the server, before it is given back; checkEvery is how often the server
	// looks whether it does.
	slotTries  = 3
	checkEvery = 10 * time.Minute
)
