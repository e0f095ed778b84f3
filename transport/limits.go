package transport

import "github.com/tarn-grid/tarn/transport/wire"

// MaxBody is the longest body, in bytes, that one side of a conversation
// takes. A body's memory is taken when its length is known, before its bytes
// come, so nobody is allowed to announce more than he has reason to send.
//
// dialled says that this side made the connection, opened that it opened the
// conversation, admitted that Admit was called where it accepted.
func MaxBody(p Protocol, dialled, opened, admitted bool) int {
	switch {
	case p == Introduction || p == Membership: // announcements and lists are messages
		return 0
	case p == Helping && opened: // a helper answers
		return 0
	case p == Pull && !opened: // who reads a share sends nothing but questions
		return 0
	case dialled:
		return wire.MaxRead
	case admitted:
		return wire.MaxRequestBody
	default:
		return wire.MaxEarlyBody
	}
}
