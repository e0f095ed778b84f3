package renewer_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/renewer"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/store"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
)

// disk is a renewer.Store that survives the actors, and may fail.
type disk struct {
	net   *fake.Network
	caps  map[string]lease.RenewalCap
	err   error
	loads int
}

func (d *disk) Load() ([]renewer.Kept, error) {
	d.loads++
	var all []renewer.Kept
	for _, name := range slices.Sorted(maps.Keys(d.caps)) {
		all = append(all, d.kept(name))
	}
	return all, nil
}

func (d *disk) kept(name string) renewer.Kept {
	c := client.Config{Dialer: d.net.Dialer("renewer"), Rules: clause.Rules{Connections: transport.DirectConnections}, Journal: store.NewMemoryJournal()}
	return renewer.Kept{Name: name, Cap: d.caps[name], Connections: c}
}

func (d *disk) Save(name string, c lease.RenewalCap) (renewer.Kept, error) {
	if d.err != nil {
		return renewer.Kept{}, d.err
	}
	d.caps[name] = c
	return d.kept(name), nil
}

func (d *disk) Remove(name string) error {
	if d.err == nil {
		delete(d.caps, name)
	}
	return d.err
}

// rig is a renewer in a simulated world.
type rig struct {
	*testing.T
	world *sim.World
	disk  *disk
	pid   *actor.PID
}

func newRig(t *testing.T) *rig {
	w := sim.New(1, nil)
	net := fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	r := &rig{T: t, world: w, disk: &disk{net: net, caps: map[string]lease.RenewalCap{}}}
	r.pid, _ = w.Sys.Root("renewer", renewer.New(w.Env(), renewer.Config{
		Store: r.disk, Most: 2, Fatal: func(err error) { t.Error(err) },
	}))
	return r
}

// begin sends a message; the answer comes in its time.
func (r *rig) begin(message any) *any { return r.world.Ask(r.pid, message) }

func (r *rig) ask(message any) any {
	r.Helper()
	answer := r.begin(message)
	if err := r.world.Until(func() bool { return *answer != nil }, time.Minute); err != nil {
		r.Fatal(err)
	}
	return *answer
}

// names are those of the caps that are renewed by now.
func (r *rig) names() (names []string) {
	r.Helper()
	caps := r.ask(renewer.AskCaps{}).(renewer.Caps)
	if err := r.world.For(time.Second); err != nil { // they begin
		r.Fatal(err)
	}
	for _, e := range caps {
		if e.PID == nil || !r.world.Alive(e.PID.Id) {
			r.Errorf("nothing is renewed for %s", e.Name)
		}
		names = append(names, e.Name)
	}
	return names
}

func (r *rig) wantNames(want ...string) {
	r.Helper()
	if got := r.names(); !slices.Equal(got, want) {
		r.Errorf("renewed are %q, want %q", got, want)
	}
}

func (r *rig) want(answer any, want error) {
	r.Helper()
	if err, is := answer.(error); want == nil && answer != (renewer.Done{}) || want != nil && (!is || !errors.Is(err, want)) {
		r.Errorf("answered %v, want %v", answer, want)
	}
}

// of is a renewal cap of an owner.
func of(owner byte) lease.RenewalCap {
	account, server := lease.AccountOf([lease.SeedSize]byte{owner}), grid.ServerID{1}
	held := []lease.HeldLeases{{Server: server, Label: account.PublicKey(server), Shares: []lease.ShareID{{Num: 1}}}}
	c, _, err := lease.Authority{Holdings: []lease.Holding{{Account: account}}}.RenewalCap(grid.PublicKey{9}, 1<<33, held)
	if err != nil {
		panic(err) // it is always the same
	}
	return c
}

func TestCaps(t *testing.T) {
	r := newRig(t)
	r.wantNames()
	r.want(r.ask(renewer.Add{Name: "bob", Cap: of(2)}), nil)
	r.want(r.ask(renewer.Add{Name: "alice", Cap: of(1)}), nil)
	r.wantNames("alice", "bob")
	actors := r.world.Actors()
	r.want(r.ask(renewer.Add{Name: "alice", Cap: of(1)}), nil)
	r.want(r.ask(renewer.Add{Name: "alice", Cap: of(2)}), renewer.ErrOthers)
	r.want(r.ask(renewer.Add{Name: "carol", Cap: of(3)}), renewer.ErrFull)
	r.wantNames("alice", "bob")
	r.want(r.ask(renewer.Remove{Name: "carol"}), renewer.ErrUnknown)
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := r.world.Actors(); n != actors+5 { // an inbox for each question since
		t.Errorf("%d actors, there were %d", n, actors)
	}
	r.want(r.ask(renewer.Remove{Name: "alice"}), nil)
	r.wantNames("bob")
	r.want(r.ask(renewer.Add{Name: "carol", Cap: of(3)}), nil)
	r.wantNames("bob", "carol")
}

// What comes while the store works waits, in order.
func TestChangesAreMadeInOrder(t *testing.T) {
	r := newRig(t)
	var answers []*any
	for range 5 {
		answers = append(answers, r.begin(renewer.Add{Name: "alice", Cap: of(1)}), r.begin(renewer.AskCaps{}), r.begin(renewer.Remove{Name: "alice"}), r.begin(renewer.AskCaps{}))
		if err := r.world.For(time.Second); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range answers {
		caps, listed := (*a).(renewer.Caps)
		if *a == nil || !listed && *a != (renewer.Done{}) || listed && len(caps) != []int{0, 1, 0, 0}[i%4] {
			t.Errorf("answer %d: %v", i, *a)
		}
	}
}

// A change that the disk refuses is told, and leaves what was there.
func TestDiskRefuses(t *testing.T) {
	r := newRig(t)
	r.want(r.ask(renewer.Add{Name: "alice", Cap: of(1)}), nil)
	r.disk.err = errors.New("the disk is full")
	r.want(r.ask(renewer.Add{Name: "bob", Cap: of(2)}), r.disk.err)
	r.wantNames("alice")
	r.want(r.ask(renewer.Add{Name: "alice", Cap: of(1)}), r.disk.err)
	r.wantNames("alice")
	r.want(r.ask(renewer.Remove{Name: "alice"}), r.disk.err)
	r.wantNames("alice")
	if r.disk.loads != 4 {
		t.Errorf("opened %d times", r.disk.loads)
	}
}

// When it fails, who waits is told, and all is opened anew.
func TestFails(t *testing.T) {
	r := newRig(t)
	r.want(r.ask(renewer.Add{Name: "alice", Cap: of(1)}), nil)
	r.world.Inject = func(id string, m any) bool {
		return id == "renewer" && strings.HasPrefix(fmt.Sprintf("%T", m), "owners.changed[")
	}
	r.want(r.ask(renewer.Add{Name: "bob", Cap: of(2)}), client.ErrInterrupted)
}

// So is told who waits for that change to be over.
func TestFailsWhileOthersWait(t *testing.T) {
	r := newRig(t)
	r.wantNames()
	r.world.Inject = func(id string, m any) bool {
		return id == "renewer" && strings.HasPrefix(fmt.Sprintf("%T", m), "owners.changed[")
	}
	added, asked := r.begin(renewer.Add{Name: "alice", Cap: of(1)}), r.begin(renewer.AskCaps{})
	if err := r.world.For(time.Minute); err != nil {
		t.Fatal(err)
	}
	r.want(*added, client.ErrInterrupted)
	r.want(*asked, client.ErrInterrupted)
}

// A branch that fails again and again rests, and harms no other.
func TestBranchFails(t *testing.T) {
	r := newRig(t)
	r.want(r.ask(renewer.Add{Name: "alice", Cap: of(1)}), nil)
	r.want(r.ask(renewer.Add{Name: "bob", Cap: of(2)}), nil)
	broken := r.ask(renewer.AskCaps{}).(renewer.Caps)[0].PID.Id
	r.world.Inject = func(id string, _ any) bool { return strings.HasPrefix(id, broken) }
	r.world.Env().Spawn.Send(r.ask(renewer.AskCaps{}).(renewer.Caps)[0].PID, client.TryAgain{})
	if err := r.world.For(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	caps := r.ask(renewer.AskCaps{}).(renewer.Caps)
	if len(caps) != 2 || caps[0].PID != nil || caps[1].PID == nil || !r.world.Alive(caps[1].PID.Id) {
		t.Fatalf("caps %+v", caps)
	}
	r.world.Inject = nil
	if err := r.world.For(15 * time.Minute); err != nil {
		t.Fatal(err)
	}
	r.wantNames("alice", "bob")
}
