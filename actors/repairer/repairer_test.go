package repairer_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/repairer"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/integration/sim"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/fake"
)

// disk is a repairer.Store that survives the actors, and may fail.
type disk struct {
	net   *fake.Network
	files map[string][]repairer.File
	err   error
	notes int
	loads int
}

func (d *disk) owner(name string) repairer.Owner {
	c := client.Config{Dialer: d.net.Dialer("repairer"), Rules: clause.Rules{Connections: transport.DirectConnections}, OnlyLent: true}
	return repairer.Owner{Name: name, Files: slices.Clone(d.files[name]), Connections: c}
}

func (d *disk) Load() (all []repairer.Owner, err error) {
	d.loads++
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		all = append(all, d.owner(name))
	}
	return all, nil
}

func (d *disk) at(name string, si grid.StorageIndex) int {
	return slices.IndexFunc(d.files[name], func(f repairer.File) bool { return f.Verifier.StorageIndex == si })
}

func (d *disk) Save(name string, files []repairer.File) (repairer.Owner, error) {
	if d.err != nil {
		return repairer.Owner{}, d.err
	}
	for _, f := range files {
		if i := d.at(name, f.Verifier.StorageIndex); i >= 0 {
			d.files[name][i] = f
		} else {
			d.files[name] = append(d.files[name], f)
		}
	}
	return d.owner(name), nil
}

func (d *disk) Note(name string, f repairer.File) error {
	d.notes++
	d.files[name][d.at(name, f.Verifier.StorageIndex)] = f
	return d.err
}

func (d *disk) Remove(name string, si *grid.StorageIndex) (repairer.Owner, error) {
	if d.err != nil {
		return repairer.Owner{}, d.err
	}
	d.files[name] = slices.DeleteFunc(d.files[name], func(f repairer.File) bool { return si == nil || f.Verifier.StorageIndex == *si })
	if len(d.files[name]) == 0 {
		delete(d.files, name)
	}
	return d.owner(name), nil
}

// rig is a repairer in a simulated world without any server, so that nothing that
// it looks after can be found.
type rig struct {
	*testing.T
	world *sim.World
	disk  *disk
	pid   *actor.PID
}

func newRig(t *testing.T) *rig {
	w := sim.New(1, nil)
	net := fake.New(func(d time.Duration, fn func()) { w.After(d, fn) }, w.Rand())
	r := &rig{T: t, world: w, disk: &disk{net: net, files: map[string][]repairer.File{}}}
	r.pid, _ = w.Sys.Root("repairer", repairer.New(w.Env(), repairer.Config{
		Store: r.disk, Most: 3, Every: 24 * time.Hour, Verify: 30 * 24 * time.Hour, Fatal: func(err error) { t.Error(err) },
	}))
	return r
}

// begin sends a message; the answer comes in its time.
func (r *rig) begin(message any) *any { return r.world.Ask(r.pid, message) }

func (r *rig) ask(message any) any {
	r.Helper()
	answer := r.begin(message)
	if err := r.world.Until(func() bool { return *answer != nil }, 10*time.Minute); err != nil {
		r.Fatal(err)
	}
	return *answer
}

func (r *rig) want(what string, got any, want error) {
	r.Helper()
	err, _ := got.(error)
	if !errors.Is(err, want) || want == nil && got != any(repairer.Done{}) {
		r.Errorf("%s: %v, want %v", what, got, want)
	}
}

// state is what is known of a file.
func (r *rig) state(name string, n byte) repairer.State {
	r.Helper()
	for _, o := range r.ask(repairer.AskOwners{}).(repairer.Owners) {
		for _, f := range o.Files {
			if o.Name == name && f.Verifier.StorageIndex == (grid.StorageIndex{n}) {
				return f.State
			}
		}
	}
	r.Fatalf("there is no file %d of %s", n, name)
	return repairer.State{}
}

// fileOf is the n-th file of somebody.
func fileOf(t *testing.T, who, n byte) repairer.File {
	t.Helper()
	mine := lease.Authority{Holdings: []lease.Holding{{Account: lease.AccountOf([lease.SeedSize]byte{who})}}}
	v := file.CHKVerifier{StorageIndex: grid.StorageIndex{n}, Needed: 1, Total: 2, Size: 1000}
	me := lease.OneKeyAccount([lease.SeedSize]byte{99})
	c, err := mine.RepairCap(me.PublicKey(grid.ServerID{}), 1<<40, v.StorageIndex, lease.UEBHash(v.UEBHash), []grid.ServerID{{1}})
	if err != nil {
		t.Fatal(err)
	}
	c.VerifyCap, c.Happy = v.String(), 1
	a, err := c.Authority(me)
	if err != nil {
		t.Fatal(err)
	}
	return repairer.File{Cap: c, Verifier: v, Authority: a}
}

func add(t *testing.T, name string, who byte, files ...byte) repairer.Add {
	t.Helper()
	m := repairer.Add{Name: name}
	for _, n := range files {
		m.Files = append(m.Files, fileOf(t, who, n))
	}
	return m
}

func TestCapsComeAndGo(t *testing.T) {
	r := newRig(t)
	r.want("the first", r.ask(add(t, "alice", 1, 1)), nil)
	r.want("more", r.ask(add(t, "alice", 1, 1, 2)), nil)
	r.want("somebody else's", r.ask(add(t, "alice", 2, 3)), repairer.ErrOthers)
	r.want("too many", r.ask(add(t, "bob", 2, 3, 4)), repairer.ErrFull)
	r.want("the last", r.ask(add(t, "bob", 2, 3)), nil)
	if n := len(r.disk.files["alice"]); n != 2 {
		t.Errorf("%d files are kept", n)
	}
	r.want("nobody's", r.ask(repairer.Remove{Name: "carol"}), repairer.ErrUnknown)
	r.want("not his", r.ask(repairer.Remove{Name: "alice", File: &grid.StorageIndex{3}}), repairer.ErrUnknown)
	r.want("one", r.ask(repairer.Remove{Name: "alice", File: &grid.StorageIndex{1}}), nil)
	r.want("all", r.ask(repairer.Remove{Name: "bob"}), nil)
	all := r.ask(repairer.AskOwners{}).(repairer.Owners)
	if len(all) != 1 || all[0].Name != "alice" || len(all[0].Files) != 1 {
		t.Errorf("left: %+v", all)
	}
}

// What can't be found is told, and looked for again soon, later, and when somebody
// asks, while a check is under way, too.
func TestFilesAreLookedAt(t *testing.T) {
	r := newRig(t)
	r.want("added", r.ask(add(t, "alice", 1, 1, 2)), nil)
	r.want("nobody's", r.ask(repairer.CheckNow{Name: "bob"}), repairer.ErrUnknown)
	r.want("all at once", r.ask(repairer.CheckNow{}), nil)
	s := r.state("alice", 1)
	if s.Healthy || s.Recoverable || s.Lost != 0 || !strings.Contains(s.Trouble, "not enough good shares") || s.Next.Sub(s.Checked) > 2*time.Hour {
		t.Errorf("%+v", s)
	}
	if r.disk.notes < 2 || !r.disk.files["alice"][0].State.Checked.Equal(s.Checked) {
		t.Errorf("%d results were kept", r.disk.notes)
	}
	if err := r.world.For(3 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if again := r.state("alice", 1); !again.Checked.After(s.Checked) {
		t.Error("it was not looked for again")
	}
	one, two := r.begin(repairer.CheckNow{Name: "alice"}), r.begin(repairer.CheckNow{})
	if err := r.world.Until(func() bool { return *one != nil && *two != nil }, 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	// Who waits for a file that is removed meanwhile does not wait for ever.
	three, removed := r.begin(repairer.CheckNow{}), r.begin(repairer.Remove{Name: "alice"})
	if err := r.world.Until(func() bool { return *three != nil && *removed != nil }, 10*time.Minute); err != nil {
		t.Fatal(err)
	}
}

// After a failure of any actor, and of the disk, files are looked at again.
func TestFailures(t *testing.T) {
	for _, failing := range []string{"repairer/owner/", "repairer/job/"} {
		r := newRig(t)
		r.want("added", r.ask(add(t, "alice", 1, 1)), nil)
		r.world.Inject = func(id string, _ any) bool {
			if strings.HasPrefix(id, failing) {
				r.world.Inject = nil
				return true
			}
			return false
		}
		r.begin(repairer.CheckNow{}) // which may be what is lost
		if err := r.world.For(3 * time.Hour); err != nil {
			t.Fatalf("%s: %v", failing, err)
		}
		r.want("checked after a failure of "+failing, r.ask(repairer.CheckNow{}), nil)
		if s := r.state("alice", 1); s.Checked.IsZero() {
			t.Errorf("%s: %+v", failing, s)
		}
	}
	r := newRig(t)
	r.want("added", r.ask(add(t, "alice", 1, 1)), nil)
	r.disk.err = errors.New("the disk is full")
	r.want("a disk that is full", r.ask(add(t, "bob", 2, 2)), r.disk.err)
	r.want("another one", r.ask(repairer.Remove{Name: "alice"}), r.disk.err)
	r.want("checked", r.ask(repairer.CheckNow{}), nil)
	r.disk.err = nil
	if r.disk.loads < 3 || r.state("alice", 1).Checked.IsZero() {
		t.Errorf("read %d times, %+v", r.disk.loads, r.state("alice", 1))
	}
	r.want("removed", r.ask(repairer.Remove{Name: "alice"}), nil)
}

// An owner whose branch fails again and again rests; then his files are looked at
// again, without anybody asking.
func TestOwnerRests(t *testing.T) {
	r := newRig(t)
	r.world.Inject = func(id string, _ any) bool { return strings.HasPrefix(id, "repairer/owner/") }
	r.want("added", r.ask(add(t, "alice", 1, 1)), nil)
	if err := r.world.For(2 * time.Minute); err != nil {
		t.Fatal(err)
	}
	if s := r.state("alice", 1); !s.Checked.IsZero() {
		t.Fatalf("looked at by nobody: %+v", s)
	}
	r.world.Inject = nil
	if err := r.world.For(3 * time.Hour); err != nil {
		t.Fatal(err)
	}
	if s := r.state("alice", 1); s.Checked.IsZero() {
		t.Errorf("not looked at again: %+v", s)
	}
}
