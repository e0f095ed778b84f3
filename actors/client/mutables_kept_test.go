package client

import (
	"fmt"
	"slices"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/file/mutable"
	"github.com/tarn-grid/tarn/grid"
)

// usedOnce adds files that had one request each, which is done.
func usedOnce(u *mutables, n int) (files []*actor.PID) {
	for i := range n {
		pid := &actor.PID{Id: fmt.Sprint("file", i)}
		name := mutableName{si: grid.StorageIndex{byte(i)}}
		u.turn++
		u.files[name], u.names[pid.Id] = &usedMutable{pid: pid, uses: 1, turn: u.turn}, name
		files = append(files, pid)
	}
	return files
}

func TestWhatMutableFilesRememberIsBounded(t *testing.T) {
	u := newMutables()
	files := usedOnce(&u, 5)
	const third = mutablesKept / 3
	for _, pid := range files[:3] {
		if end := u.rests(restingMutable{pid, 1, third}); len(end) != 0 {
			t.Fatalf("%v end although there is room", end)
		}
	}
	u.files[u.names[files[0].Id]].uses++ // it is in use again
	u.turn++
	u.files[u.names[files[1].Id]].turn = u.turn // and the second was, after all others
	if end := u.rests(restingMutable{files[3], 1, third}); !slices.Equal(end, files[2:3]) {
		t.Errorf("%v end, want the one that was used longest ago, %v", end, files[2])
	}
	if end := u.rests(restingMutable{files[4], 1, 2 * mutablesKept}); !slices.Equal(end, files[3:5]) {
		t.Errorf("%v end, want as many as make room, %v", end, files[3:5])
	}
	u.gone(files[0])
	u.gone(files[1])
	if u.kept != 0 || len(u.files) != 0 || len(u.names) != 0 {
		t.Errorf("%d bytes are kept of %d files in the end", u.kept, len(u.files))
	}
}

// A file that rests anew counts with what it remembers now.
func TestRestingAgain(t *testing.T) {
	u := newMutables()
	pid := usedOnce(&u, 1)[0]
	u.rests(restingMutable{pid, 1, 1000})
	u.rests(restingMutable{pid, 1, 300})
	if u.kept != 300 {
		t.Errorf("%d bytes are kept, want 300", u.kept)
	}
	if end := u.rests(restingMutable{&actor.PID{Id: "unknown"}, 1, 1 << 40}); len(end) != 0 || u.kept != 300 {
		t.Errorf("who is not known ends %v, %d bytes are kept", end, u.kept)
	}
}

func TestSeenVersionsAreBounded(t *testing.T) {
	s := newSeenVersions()
	index := func(i int) grid.StorageIndex { return grid.StorageIndex{byte(i), byte(i >> 8), byte(i >> 16)} }
	for i := range seenFiles + 3 {
		s.note(versionSeen{index(i), 7})
		s.note(versionSeen{index(i), 5}) // is no newer one
	}
	s.note(versionSeen{index(3), 9})
	if len(s.newest) != seenFiles || len(s.order) != seenFiles || s.newest[index(2)] != 0 || s.newest[index(3)] != 9 || s.newest[index(seenFiles+2)] != 7 {
		t.Errorf("of %d files: %d, %d, %d", len(s.newest), s.newest[index(2)], s.newest[index(3)], s.newest[index(seenFiles+2)])
	}
}

// What is kept of a share that was written holds no more of it.
func TestHeadsHoldNoShares(t *testing.T) {
	d := draftOfShares(mutable.Prefix{}, [][]byte{make([]byte, 1<<20), make([]byte, 10)})
	for num, want := range []int{surveySize, 10} {
		if head := d.heads[grid.ShareNum(num)]; len(head) != want || cap(head) > 2*want+64 {
			t.Errorf("%d bytes of room for %d of share %d", cap(head), len(head), num)
		}
	}
}
