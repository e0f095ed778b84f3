package membership_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

var manager = grid.PublicKeyOf(keyOf("manager"))

func accountOf(name string) lease.Account {
	return lease.AccountOf(sha256.Sum256([]byte("test account " + name)))
}

func secretOf(name string) membership.Secret {
	sum := sha256.Sum256([]byte("test secret " + name))
	return membership.Secret(sum[:16])
}

// servers are in ascending order.
// claimOf can be claimed with secretOf, at any time.
func claimOf(name string) membership.Claim { return membership.Claim{Hash: secretOf(name).Hash()} }

func mustMember(d *desk, name string) membership.Member {
	d.Helper()
	m, err := d.book.Member(name)
	if err != nil {
		d.Fatal(err)
	}
	return m
}

func servers(n int) []grid.ServerID {
	list := make([]grid.ServerID, n)
	for i := range list {
		list[i] = grid.ServerID{byte(i >> 8), byte(i), 1}
	}
	return list
}

// desk is a book together with what was saved of it.
type desk struct {
	testing.TB
	book  *membership.Book
	saved membership.State
}

func newDesk(t testing.TB, grid int) *desk {
	t.Helper()
	d := &desk{TB: t}
	d.reopen()
	for i, id := range servers(grid) {
		d.do(d.book.AddServer(membership.Server{ID: id, Name: fmt.Sprint("s", i)}))
	}
	return d
}

// reopen makes the book anew from what was saved.
func (d *desk) reopen() {
	d.Helper()
	var err error
	if d.book, err = membership.NewBook(manager, d.saved); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) do(c membership.Change, err error) {
	d.Helper()
	if err != nil {
		d.Fatal(err)
	}
	d.save(c)
	d.book.Apply(c)
}

func (d *desk) save(c membership.Change) {
	s := &d.saved
	named := func(name string) func(membership.Member) bool {
		return func(m membership.Member) bool { return m.Name == name }
	}
	if c.Remove != nil { // as after a crash, his keys are still there
		s.Members = slices.DeleteFunc(s.Members, named(c.Remove.Name))
	}
	if c.Member != nil {
		s.Members = append(slices.DeleteFunc(s.Members, named(c.Member.Name)), *c.Member)
	}
	if c.Keys != nil {
		s.Keys = append(slices.DeleteFunc(s.Keys, func(k membership.KeyList) bool { return k.Member == c.Keys.Member }), *c.Keys)
	}
	if c.Grid != nil {
		s.Servers, s.Sequence = c.Grid.Servers, c.Grid.Sequence
	}
}

func (d *desk) add(name string, quota *int64) {
	d.Helper()
	d.do(d.book.Add(name, quota, nil, claimOf(name), noon))
}

func (d *desk) list(a lease.Account, at []grid.ServerID) (lease.SignedKeyList, []byte) {
	d.Helper()
	signed, err := a.SignKeyList(manager, at)
	if err != nil {
		d.Fatal(err)
	}
	list, err := lease.DecodeKeyList(signed)
	if err != nil {
		d.Fatal(err)
	}
	return list, signed
}

func (d *desk) enrol(a lease.Account, secret *membership.Secret, at []grid.ServerID) (membership.Change, error) {
	d.Helper()
	list, signed := d.list(a, at)
	return d.book.Enrol(list, signed, secret, noon)
}

// join makes an account a member with keys at the first servers of the grid.
func (d *desk) join(name string, keys int) {
	d.Helper()
	d.do(d.enrol(accountOf(name), new(secretOf(name)), servers(keys)))
}

func (d *desk) want(err, want error) {
	d.Helper()
	if !errors.Is(err, want) {
		d.Errorf("error %v, want %v", err, want)
	}
}

func TestTheSecretWorksForOneAccount(t *testing.T) {
	d := newDesk(t, 2)
	d.add("alice", new(int64(45e9)))
	alice, mallory, secret := accountOf("alice"), accountOf("mallory"), secretOf("alice")
	_, err := d.enrol(alice, new(secretOf("guess")), nil)
	d.want(err, membership.ErrUnknown)
	_, err = d.enrol(alice, nil, nil)
	d.want(err, membership.ErrUnknown)
	d.join("alice", 1)
	for range 2 {
		_, err = d.enrol(mallory, &secret, nil)
		d.want(err, membership.ErrClaimed)
		if c, err := d.enrol(alice, &secret, servers(1)); err != nil || !c.Empty() {
			t.Errorf("the same again: %+v, %v", c, err)
		}
		d.reopen()
	}
	m := mustMember(d, "alice")
	if m.Name != "alice" || *m.Quota != 50e9 || m.Account != alice.PublicKey(grid.ServerID(manager)) || m.Joined != noon.Unix() {
		t.Errorf("member %+v", m)
	}
}

// A one-time secret ends, and another one takes its place; who has joined loses
// nothing by it, unless another account is to have the membership.
func TestSecretsEndAndAreReplaced(t *testing.T) {
	d := newDesk(t, 3)
	secret, newer := secretOf("alice"), secretOf("newer")
	claim := func(name string, days int64) membership.Claim {
		return membership.Claim{Hash: secretOf(name).Hash(), Until: noon.Unix() + days*24*60*60}
	}
	_, err := d.book.Add("alice", nil, nil, claim("alice", 0), noon)
	d.want(err, membership.ErrTerms)
	d.do(d.book.Add("alice", new(int64(5e9)), nil, claim("alice", 2), noon))
	d.reopen()
	find := func(s membership.Secret, days int) error {
		_, err := d.book.Find(accountOf("alice").PublicKey(grid.ServerID(manager)), &s, noon.AddDate(0, 0, days))
		return err
	}
	d.want(find(secret, 1), nil)
	d.want(find(secret, 2), membership.ErrClaimEnded)
	if m := mustMember(d, "alice"); m.Lapsed(noon.AddDate(0, 0, 1).Unix()) || !m.Lapsed(noon.AddDate(0, 0, 2).Unix()) {
		t.Errorf("lapsed at the wrong time: %+v", m)
	}
	_, err = d.book.Reissue("bob", claim("newer", 30), true, noon)
	d.want(err, membership.ErrUnknown)
	d.do(d.book.Reissue("alice", claim("newer", 30), false, noon))
	d.want(find(secret, 1), membership.ErrUnknown)
	d.want(find(newer, 29), nil)
	change, err := d.enrol(accountOf("alice"), &newer, servers(3))
	d.do(change, err)
	d.want(find(newer, 60), nil) // has joined

	_, err = d.book.Reissue("alice", claim("other", 30), false, noon)
	d.want(err, membership.ErrClaimed)
	d.do(d.book.Reissue("alice", claim("other", 30), true, noon))
	key := accountOf("alice").PublicKey(servers(3)[0])
	for range 2 {
		_, err = d.book.Card(servers(3)[0], key, noon)
		d.want(err, membership.ErrUnknown)
		d.want(find(newer, 1), membership.ErrUnknown)
		if m := mustMember(d, "alice"); m.Joined != 0 || *m.Quota != 5e9 || d.book.KeyCount() != 0 || d.book.Len() != 1 {
			t.Errorf("alice without an account: %+v", m)
		}
		d.reopen()
	}
	other := secretOf("other")
	d.do(d.enrol(accountOf("carol"), &other, servers(3)))
	_, err = d.book.Card(servers(3)[0], accountOf("carol").PublicKey(servers(3)[0]), noon)
	d.want(err, nil)
}

// Members are listed part after part, while some come and go.
func TestMembersPartAfterPart(t *testing.T) {
	d := newDesk(t, 1)
	for _, name := range []string{"d", "a", "c", "b", "e"} {
		d.add(name, nil)
	}
	var seen []string
	after, more := "", true
	for more {
		var some []membership.Member
		some, more = d.book.Members(after, 2)
		for _, m := range some {
			seen, after = append(seen, m.Name), m.Name
		}
		if len(seen) == 2 {
			d.do(d.book.Remove("b"))
			d.add("bb", nil)
		}
	}
	if want := []string{"a", "b", "bb", "c", "d", "e"}; !slices.Equal(seen, want) {
		t.Errorf("listed %v, want %v", seen, want)
	}
}

func TestCardsAreForListedKeys(t *testing.T) {
	d := newDesk(t, 3)
	d.add("alice", new(int64(5e9)))
	d.join("alice", 2)
	at := servers(4)
	alice := accountOf("alice")
	card := func(server grid.ServerID, key grid.PublicKey) error {
		_, err := d.book.Card(server, key, noon)
		return err
	}
	for round := range 2 {
		for i := range 2 {
			terms, err := d.book.Card(at[i], alice.PublicKey(at[i]), noon)
			if err != nil || *terms.Space != 5e9 {
				t.Errorf("round %d: terms %+v, %v", round, terms, err)
			}
		}
		d.want(card(at[0], alice.PublicKey(at[1])), membership.ErrUnknown) // her key for another server
		d.want(card(at[2], alice.PublicKey(at[2])), membership.ErrUnknown) // not listed yet
		d.want(card(at[0], accountOf("bob").PublicKey(at[0])), membership.ErrUnknown)
		d.reopen()
	}
	// A new server is met: she lists its key, too, and needs no secret any more.
	d.do(d.enrol(alice, nil, at[:3]))
	d.reopen()
	if err := card(at[2], alice.PublicKey(at[2])); err != nil {
		t.Error(err)
	}
	d.do(d.book.RemoveServer(at[1]))
	d.want(card(at[1], alice.PublicKey(at[1])), membership.ErrUnknown)
	d.do(d.book.SetTerms("alice", nil, new(noon.Unix()+10)))
	if terms, err := d.book.Card(at[0], alice.PublicKey(at[0]), noon); err != nil || terms.Space != nil || *terms.End != noon.Unix()+10 {
		t.Errorf("changed terms %+v, %v", terms, err)
	}
	_, err := d.book.Card(at[0], alice.PublicKey(at[0]), noon.Add(10*time.Second))
	d.want(err, lease.ErrAuthorityExpired)
	list, signed := d.list(alice, at[:1])
	_, err = d.book.Enrol(list, signed, nil, noon.Add(time.Minute))
	d.want(err, lease.ErrAuthorityExpired)
	d.do(d.book.Remove("alice"))
	d.want(card(at[0], alice.PublicKey(at[0])), membership.ErrUnknown)
	_, err = d.enrol(alice, new(secretOf("alice")), at[:1])
	d.want(err, membership.ErrUnknown)
	d.reopen()
	if d.book.Len() != 0 || d.book.KeyCount() != 0 {
		t.Errorf("%d members and %d keys are left", d.book.Len(), d.book.KeyCount())
	}
}

// Nobody has two budgets at a server, nor takes another's key.
func TestOneKeyAtAServer(t *testing.T) {
	d := newDesk(t, 2)
	for _, name := range []string{"alice", "bob"} {
		d.add(name, new(int64(5e9)))
	}
	d.join("alice", 2)
	at := servers(3)
	alice, bob := accountOf("alice"), accountOf("bob")
	// forged is a list of the account's with other keys in it.
	forged := func(a lease.Account, keys ...lease.ServerKey) error {
		list, signed := d.list(a, nil)
		list.Keys = keys
		_, err := d.book.Enrol(list, signed, new(secretOf("bob")), noon)
		return err
	}
	d.want(forged(bob, lease.ServerKey{Server: at[0], Key: alice.PublicKey(at[0])}), membership.ErrKeyTaken)
	d.want(forged(alice, lease.ServerKey{Server: at[0], Key: bob.PublicKey(at[0])}, lease.ServerKey{Server: at[1], Key: alice.PublicKey(at[1])}), membership.ErrKeyTaken)
	d.want(forged(alice, lease.ServerKey{Server: at[0], Key: alice.PublicKey(at[0])}), membership.ErrKeyTaken) // leaves one out
	d.want(forged(bob, lease.ServerKey{Server: at[2], Key: bob.PublicKey(at[2])}), membership.ErrUnknown)      // no server of the grid
	d.want(forged(bob, lease.ServerKey{Server: at[0]}), membership.ErrTerms)
	signed, err := bob.SignKeyList(grid.PublicKeyOf(keyOf("another manager")), at[:1])
	if err != nil {
		t.Fatal(err)
	}
	list, err := lease.DecodeKeyList(signed)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.book.Enrol(list, signed, new(secretOf("bob")), noon)
	d.want(err, membership.ErrUnknown)
	// An account with one key everywhere has it at every server.
	d.add("one", nil)
	one := lease.OneKeyAccount(sha256.Sum256([]byte("one")))
	d.do(d.enrol(one, new(secretOf("one")), at[:2]))
	for _, id := range at[:2] {
		if _, err := d.book.Card(id, one.PublicKey(id), noon); err != nil {
			t.Error(err)
		}
	}
	if len(d.book.Keys("one")) != 2 || len(d.book.Keys("alice")) != 2 || d.book.KeyCount() != 3 {
		t.Errorf("keys %v, %v", d.book.Keys("one"), d.book.Keys("alice"))
	}
}

func TestTermsThatMakeNoSense(t *testing.T) {
	d := newDesk(t, 1)
	d.add("alice", nil)
	add := func(name string, quota, until *int64) error {
		_, err := d.book.Add(name, quota, until, membership.Claim{Hash: [32]byte{1}}, noon)
		return err
	}
	d.want(add("alice", nil, nil), membership.ErrExists)
	for _, name := range []string{"", "-x", "a b", "a\x00", "\xff", string(make([]byte, 65))} {
		d.want(add(name, nil, nil), membership.ErrTerms)
	}
	d.want(add("bob", new(int64(-1)), nil), membership.ErrTerms)
	d.want(add("bob", nil, new(int64(-1))), membership.ErrTerms)
	d.want(add("bob", nil, new(int64(1)<<50)), membership.ErrTerms)
	_, err := d.book.SetTerms("bob", nil, nil)
	d.want(err, membership.ErrUnknown)
	_, err = d.book.Remove("bob")
	d.want(err, membership.ErrUnknown)
	_, err = d.book.AddServer(membership.Server{ID: servers(1)[0]})
	d.want(err, membership.ErrExists)
	_, err = d.book.AddServer(membership.Server{ID: servers(2)[1], Name: "a b"})
	d.want(err, membership.ErrTerms)
	_, err = d.book.RemoveServer(servers(2)[1])
	d.want(err, membership.ErrUnknown)
}

func TestServerListGrows(t *testing.T) {
	d := newDesk(t, 0)
	var before lease.ServerList
	for _, id := range []grid.ServerID{{9}, {1}, {5}} {
		d.do(d.book.AddServer(membership.Server{ID: id}))
		list := d.book.Grid().List()
		if list.Sequence <= before.Sequence || !slices.IsSortedFunc(list.Servers, func(a, b grid.ServerID) int { return bytes.Compare(a[:], b[:]) }) {
			t.Errorf("list %+v after %+v", list, before)
		}
		before = list
	}
	d.do(d.book.RemoveServer(grid.ServerID{5}))
	d.reopen()
	if list := d.book.Grid().List(); list.Sequence != 4 || !reflect.DeepEqual(list.Servers, []grid.ServerID{{1}, {9}}) {
		t.Errorf("list %+v", list)
	}
}

// big is a book with members who have joined, each with a key at each server.
// Deriving a million real keys would take a minute; any bytes are keys here.
func big(t testing.TB, members, grid int) *desk {
	t.Helper()
	d := newDesk(t, grid)
	for n := range members {
		name := fmt.Sprint("member", n)
		c, err := d.book.Add(name, new(int64(5e9)), nil, claimOf(name), noon)
		if err != nil {
			t.Fatal(err)
		}
		c.Member.Account = madeUp(name, [32]byte{})
		d.book.Apply(c)
		var keys []lease.ServerKey
		for _, id := range servers(grid) {
			keys = append(keys, lease.ServerKey{Server: id, Key: madeUp(name, id)})
		}
		d.book.PutKeys(name, keys)
	}
	return d
}

func madeUp(name string, id grid.ServerID) grid.PublicKey {
	return sha256.Sum256(append([]byte(name), id[:]...))
}

// TestTenThousandMembers: a hundred servers, a million keys; every member gets
// his cards and nobody else's, in memory that a small machine has.
func TestTenThousandMembers(t *testing.T) {
	const members, grid = 10_000, 100
	before := heap()
	d := big(t, members, grid)
	used := heap() - before
	if d.book.Len() != members || d.book.KeyCount() != members*grid {
		t.Fatalf("%d members, %d keys", d.book.Len(), d.book.KeyCount())
	}
	if used > 200<<20 {
		t.Errorf("the book takes %d MiB", used>>20)
	}
	at := servers(grid)
	for n := 0; n < members; n += 97 {
		name := fmt.Sprint("member", n)
		id := at[n%grid]
		if _, err := d.book.Card(id, madeUp(name, id), noon); err != nil {
			t.Fatal(err)
		}
		if _, err := d.book.Card(at[(n+1)%grid], madeUp(name, id), noon); !errors.Is(err, membership.ErrUnknown) {
			t.Fatalf("a card for another server's key: %v", err)
		}
	}
	c, err := d.book.Remove("member5000")
	if err != nil {
		t.Fatal(err)
	}
	d.book.Apply(c)
	if d.book.KeyCount() != (members-1)*grid {
		t.Errorf("%d keys are left", d.book.KeyCount())
	}
	t.Logf("%d members with %d keys each: %d MiB", members, grid, used>>20)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkCard is what a member's question costs: the look into a book of a
// million keys, and the signature.
func BenchmarkCard(b *testing.B) {
	d := big(b, 10_000, 100)
	at := servers(100)
	key := keyOf("manager")
	b.ResetTimer()
	for n := range b.N {
		id := at[n%100]
		member := madeUp(fmt.Sprint("member", n%10_000), id)
		terms, err := d.book.Card(id, member, noon)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := lease.SignCard(key, id, member, terms, noon); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkListing goes through ten thousand members at a hundred servers part
// after part, as an operator's list and an export do.
func BenchmarkListing(b *testing.B) {
	d := big(b, 10_000, 100)
	for name, keys := range map[string]bool{"list": false, "export": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				seen := 0
				after, more := "", true
				for more {
					var part []membership.Member
					part, more = d.book.Members(after, 50)
					for _, m := range part {
						if after = m.Name; keys {
							seen += len(d.book.Keys(m.Name))
						} else {
							seen += d.book.KeyCountOf(m.Name)
						}
					}
				}
				if seen != 1_000_000 {
					b.Fatalf("%d keys", seen)
				}
			}
		})
	}
}
