package client

import (
	"time"

	"github.com/tarn-grid/tarn/transport"
)

// What bounds the client branch in time.
const (
	// settleTime is how long a request waits for connections to be decided.
	settleTime = 5 * time.Second
	// patientTime is how much longer that is for who does not want to take a server
	// that is slow for one that is gone.
	patientTime = 30 * time.Second
	// freshTime is how long enough servers are not enough while others were
	// heard of only now.
	freshTime = 2 * time.Second
	// nudgeInterval is the least time between two rounds of trying servers
	// that are down before their backoff is over.
	nudgeInterval = 3 * time.Second
	// firstBackoff doubles with each failure in a row, up to maxBackoff; both
	// are jittered by a quarter.
	firstBackoff = time.Second
	maxBackoff   = 5 * time.Minute
	// steadyTime is how long a connection has to stand to show that the server
	// is well.
	steadyTime = time.Minute
	// comingFailures is how many failures count against a server that was
	// reached, however often it goes: it is back soon, after 16 s at most.
	comingFailures = 4
	// failureDelay is for how long a failed dial has others go first, maxDelays how
	// many of them count: who has failed least is dialled first, who waits longest in
	// the end.
	failureDelay = 5 * time.Minute
	maxDelays    = 6
	// spreadTime is over how long connections to different servers, and one after
	// another to the same, are strewn where the node is anonymous.
	spreadTime = transport.Spread
	// heardTime is how long after its start an anonymous node begins to connect to
	// servers that it hears of meanwhile, so that they can't see when it reached
	// its introducer: spreadTime, and what the way through Tor takes.
	heardTime = spreadTime + 15*time.Second
	// settledTime is how long a connection to an introducer has to stand to show
	// that it has room for us: one with more clients than places lets go of who
	// was there longest, and they are not to take turns all the time.
	settledTime = time.Hour
	// ageInterval is how often announcements are gone through, forgetTime how
	// long one is kept that no introducer repeats, of a server that is not there.
	ageInterval = 24 * time.Hour
	forgetTime  = 60 * 24 * time.Hour
	// overridesInterval is how often the user's file of servers is looked at,
	// overridesSoon while the node waits for it.
	overridesInterval = 2 * time.Second
	overridesSoon     = 100 * time.Millisecond
	// punchFirst is how long a connection through a relay stands before a direct
	// one is tried for; after a failure it is punchWait, then twice as long each
	// time, up to maxPunchWait.
	punchFirst   = time.Second
	punchWait    = time.Minute
	maxPunchWait = time.Hour
	// moveTime is how long a direct connection waits for answers over the relay.
	moveTime = 20 * time.Second
	// helloTime is how long a server may take for hello and login.
	helloTime = 20 * time.Second
	// callTime is how long a server may take for an answer, or for whatever
	// else it answers first.
	callTime = 30 * time.Second
	// slowTime is how long a server may take that answers others meanwhile: on
	// a slow link large answers wait for each other.
	slowTime = 5 * time.Minute
	// silentTime is when a request counts as lost inside this node: its server
	// actor failed over it.
	silentTime = 2 * callTime
	// firstLoginWait is after how long a server that accepted none of our keys
	// is asked again; it doubles up to loginInterval.
	firstLoginWait = 5 * time.Second
	loginInterval  = 10 * time.Minute
	// lostTime is the same for who waits for single answers, which may be slow.
	lostTime = slowTime + callTime
	// referenceMargin before a reference ends, a new login is made.
	referenceMargin = 10 * time.Minute
	// firstRound is how long after a server was reached its leases are gone
	// through, roundInterval how long after that again, roundRetry where it was
	// broken off. A lease has half of its time left when it is renewed, so many
	// rounds may fail.
	firstRound    = 10 * time.Second
	roundInterval = 6 * time.Hour
	roundRetry    = 10 * time.Minute
	// tickInterval lets jobs see that something takes too long.
	tickInterval = time.Second
	// hedgeTime is the least wait before a late block is asked for elsewhere.
	hedgeTime = time.Second
	// answerPatience is how long an upload waits for who is not needed, less than
	// others that have taken a share wait for it. Passing a share on takes longest.
	answerPatience = 15 * time.Second
	// linkPatience is how long an upload waits for a lost connection,
	// pullPatience for a server that has stopped asking, windowPatience for
	// one that holds all others back.
	linkPatience = 30 * time.Second
	pullPatience = 60 * time.Second
	// renewRetry is how soon a renewal that failed is tried again.
	renewRetry     = time.Minute
	windowPatience = 10 * time.Second
	// lentTime is how long connections are kept under an authority that came
	// with a request, after its last use.
	lentTime = 5 * time.Minute
	// othersNamed is how many servers are named to which a share may be passed on,
	// passTime how long each may take when it is.
	othersNamed = 2
	passTime    = 8 * time.Second
	// onceTime is lentTime where each authority is for one file.
	onceTime = 10 * time.Second
	// helperPatience is how long an upload waits for a helper that was lost or
	// does not come on, placingPatience for one that has the file,
	// helperSilence for one that says nothing.
	helperPatience  = 2 * time.Minute
	placingPatience = 5 * time.Minute
	helperSilence   = time.Minute
	// mutableIdle is how long what is known of a mutable file is kept after its
	// last use.
	mutableIdle = time.Minute
	// surveyPatience is how long who writes waits for all servers to say what they
	// hold, if the others are enough; writePatience is how long a version may be in
	// the making: after it others take it for given up.
	surveyPatience = 3 * time.Second
	writePatience  = 8 * time.Second
	writeAgain     = 250 * time.Millisecond
	// keysPause is the least rest after a key that was made ahead of time, keysQuiet
	// for how long nothing else must have been asked of the client.
	keysPause = 10 * time.Millisecond
	keysQuiet = time.Second
	// grantTime is how long the certificates of a helper last at most. They end
	// at a multiple of grantStep, so that who stores a file again signs the same
	// ones, and the helper need not log in again.
	grantTime = 24 * time.Hour
	grantStep = 6 * time.Hour
	// cardGap is the longest time between two questions to an account manager
	// that have nothing to wait for.
	cardGap = 400 * time.Millisecond
	// listInterval is how often the grid's servers are asked for, refusedInterval
	// how long a refusal of the account manager is taken for an answer.
	listInterval    = 6 * time.Hour
	refusedInterval = 24 * time.Hour
	// Newer cards are asked for at random times: cardSpread is over how long
	// those are strewn while a card has weeks left, cardSoon where it has not,
	// leastRefresh how long a card is left in peace at least.
	cardSpread   = 3 * 24 * time.Hour
	cardSoon     = time.Minute
	leastRefresh = time.Hour
)

// What bounds it in size.
const (
	// maxServers is how many servers one introducer can make us know; valued ones
	// are never pushed out by others.
	maxServers = 10000
	// maxDials is how many servers are dialled at a time, dialsPerMinute how many
	// in the long run, dialBurst how many more after a rest, maxDialHints how
	// many addresses of one in one go: anybody may announce servers, at anybody's
	// addresses, and a router at home remembers so many connections.
	maxDials       = 32
	dialsPerMinute = 300
	dialBurst      = 120
	maxDialHints   = 4
	// valuedInRow is how many servers that are known to be some, and are well, are
	// dialled before another one has its turn.
	valuedInRow = 3
	// maxCalls is how many unanswered requests a server is sent at a time,
	// unless it says less.
	maxCalls = 64
	// pullFloor is how much of a share a server must take within pullPatience,
	// in bytes: what servers ask of clients, too.
	pullFloor = 60 << 10
	// pullCredit is how many frames of a pull may come unanswered.
	pullCredit = 8
	// storageCredit is how many frames of a server may come at a time.
	storageCredit = 64
	// wholeShare is the largest share that is sent along with its offer, in
	// bytes; a file of one segment whose shares are no larger is encoded once
	// and kept until the upload ends.
	wholeShare = 64 << 10
	// helpWindow is how many parts of a ciphertext may be on their way to a
	// helper, maxSetbacks how often it may have lost some, maxPlacings how often
	// it may encode the file to be waited for.
	helpWindow  = 4
	maxSetbacks = 3
	maxPlacings = 4
	// keysReady is how many keys of mutable files are in memory, keysAhead how many
	// are made ahead of time where they can be kept.
	keysReady = 64
	keysAhead = 1024
	// surveySize is how much of each share of a mutable file is read to find out
	// its version: all that proves it, and small shares whole, in bytes.
	surveySize = 4 << 10
	// maxSurveys is how often a file that changes all the time is looked at anew.
	maxSurveys = 4
	// readTogether is how much of a mutable file is fetched at a time, keptContent
	// the longest content that is kept.
	readTogether = 2 << 20
	keptContent  = 16 << 20
	// mutablesKept is how many bytes all mutable files together remember while
	// nothing is done with them, mutableOverhead about what each takes besides.
	mutablesKept    = 32 << 20
	mutableOverhead = 8 << 10
	// seenFiles is of how many mutable files the client remembers the newest version
	// that it met.
	seenFiles = 1 << 16
	// wholeMutable is the longest mutable file whose shares are all made at once.
	wholeMutable = 16 << 20
	// windowBytes is how much of an encoded file is held for pulls, all
	// shares together; at least minWindow segments.
	windowBytes = 16 << 20
	minWindow   = 2
	// readAhead is how many segments a download fetches before they are asked
	// for, within readAheadBytes.
	readAhead      = 4
	readAheadBytes = 8 << 20
	// verifyAtOnce is how many shares a check reads at a time, in parts of
	// verifyPart bytes, of which it holds two for each.
	verifyAtOnce = 8
	verifyPart   = int64(256 << 10)
	// probeSize is up to how much of a share is asked for along with the
	// question whether it is there, in bytes.
	probeSize = 64 << 10
)
