package env

import (
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// A gang uses a goroutine again, runs as many at a time as there are, and
// leaves none behind.
func TestGangRunsAllAndEnds(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	g := &gang{most: 2}
	var all sync.WaitGroup
	var mu sync.Mutex
	ran, meet := 0, make(chan struct{})
	for range 5 { // five at a time: each waits for all of them
		all.Add(1)
		g.run(func() {
			defer all.Done()
			mu.Lock()
			if ran++; ran == 5 {
				close(meet)
			}
			mu.Unlock()
			<-meet
		})
	}
	all.Wait()
	for range 1000 {
		all.Add(1)
		g.run(all.Done)
		all.Wait()
	}
	g.close()
	all.Add(1)
	g.run(all.Done) // after the end it still runs, on a goroutine that ends
	all.Wait()
}
