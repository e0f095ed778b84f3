package introducer_test

import (
	"fmt"
	"testing"

	"github.com/tarn-grid/tarn/actors/introducer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/transport/wire"
)

// TestOwn: what the introducer's own node announces is passed on and kept, also
// when it comes before the file is read, and no flood pushes it out.
func TestOwn(t *testing.T) {
	r := newRig(t, 9)
	r.net.Crash("introducer")
	r.world.Crash("introducer")
	r.start()
	own := signed(t, 4, 7)
	r.world.Env().Spawn.Send(r.pid, introducer.Own(own))
	r.world.Env().Spawn.Send(r.pid, introducer.Own("garbage"))
	r.status() // answered once it listens
	p := r.dial("client", 100)
	p.do(&wire.Subscribe{})
	r.until("the announcement", func() bool { return len(p.heard) == 1 && p.heard[0].Sequence == 7 })
	r.world.Env().Spawn.Send(r.pid, introducer.Own(signed(t, 4, 8)))
	r.until("a newer one", func() bool { return len(p.heard) == 2 && p.heard[1].Sequence == 8 })
	p.session.Close()
	for source := range 17 {
		r.flood(fmt.Sprint("many", source), 1000*(source+1), 256)
	}
	late := r.dial("late", 5000)
	late.do(&wire.Subscribe{})
	for _, a := range late.heard {
		if a.Server == grid.ServerID(grid.PublicKeyOf(key(4))) {
			return
		}
	}
	t.Errorf("not among %d", len(late.heard))
}
