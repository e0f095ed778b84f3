package introducer

import "time"

// Every bound of an introducer.
const (
	// maxServers is how many announcements are kept: with 8 KiB each, 32 MiB.
	maxServers = 4096
	// maxFromSource is how many of them come from one network address, behind
	// which there may be a site with many servers.
	maxFromSource = 256
	// maxSessions is how many connections are open at a time; less than the
	// transport's bound, so that a new one can take the place of the oldest.
	maxSessions = 1000
	// requests is how many a session may have outstanding.
	requests = 4
	// maxPublications is how many a session may make: a server has one each
	// time that something about it changes.
	maxPublications = 256
	// unwritten is how many notices of a session may wait for the network; the
	// others wait as pointers.
	unwritten = 16
	// helloWithin is how long a connection may stay silent at first.
	helloWithin = 30 * time.Second
)
