package client

import "github.com/tarn-grid/tarn/grid"

// seenVersions is the newest version of each mutable file that this client has met,
// of those that it met lately: servers that show an older one are not believed
// before all have been asked.
type seenVersions struct {
	newest map[grid.StorageIndex]uint64 // sequence numbers
	order  []grid.StorageIndex          // as they came, a ring once it is full
	oldest int                          // in it
}

// versionSeen tells the client of a version that is newer than what a file's actor
// knew.
type versionSeen struct {
	si     grid.StorageIndex
	number uint64
}

func newSeenVersions() seenVersions {
	return seenVersions{newest: map[grid.StorageIndex]uint64{}}
}

// note remembers a version, in the place of the file that was met first if there are
// too many.
func (s *seenVersions) note(m versionSeen) {
	if number, ok := s.newest[m.si]; ok {
		s.newest[m.si] = max(number, m.number)
		return
	}
	if len(s.order) < seenFiles {
		s.order = append(s.order, m.si)
	} else {
		delete(s.newest, s.order[s.oldest])
		s.order[s.oldest] = m.si
		s.oldest = (s.oldest + 1) % seenFiles
	}
	s.newest[m.si] = m.number
}

// saw notes a version that is there, or was just written.
func (m *mutableFile) saw(f *flow, number uint64) {
	if number > m.newest {
		m.newest = number
		f.ctx.Send(f.ctx.Parent(), versionSeen{m.cap.StorageIndex(), number})
	}
}
