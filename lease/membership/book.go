package membership

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Book is an account manager's table, in memory. It is not safe for concurrent
// use.
type Book struct {
	manager  grid.PublicKey
	members  map[string]*entry
	names    []string // of all members, in order
	accounts map[grid.PublicKey]*entry
	claims   map[[32]byte]*entry
	owners   map[grid.PublicKey]*entry // of keys at servers
	grid     Grid
	// numbers gives each server that any member has a key for a place in his
	// list, so that a million keys take 32 bytes each and one entry in owners.
	numbers map[grid.ServerID]int
}

// entry is a member and his keys, by the number of the server; zero is none.
type entry struct {
	Member
	keys []grid.PublicKey
}

// NewBook reads what was saved. Keys of nobody, or of who had the name before,
// left by a crash in the middle of a removal, are passed over; whatever else does not fit together is an
// error.
func NewBook(manager grid.PublicKey, s State) (*Book, error) {
	b := &Book{
		manager: manager, members: map[string]*entry{}, accounts: map[grid.PublicKey]*entry{},
		claims: map[[32]byte]*entry{}, owners: map[grid.PublicKey]*entry{},
		grid: Grid{s.Servers, s.Sequence}, numbers: map[grid.ServerID]int{},
	}
	for _, m := range s.Members {
		if b.members[m.Name] != nil {
			return nil, fmt.Errorf("member %s: %w", m.Name, ErrExists)
		}
		b.put(m)
	}
	var bad error
	for _, k := range s.Keys {
		if err := b.load(k); err != nil {
			bad = errors.Join(bad, fmt.Errorf("keys of %s: %w", k.Member, err))
		}
	}
	return b, bad
}

func (b *Book) load(k KeyList) error {
	e := b.members[k.Member]
	if e == nil {
		return nil
	}
	list, err := lease.DecodeKeyList(k.Signed)
	if err != nil {
		return err
	}
	if list.Account != e.Account { // of who had the name before
		return nil
	}
	if err := b.checkKeys(e, list); err != nil {
		return err
	}
	b.putKeys(e, list.Keys)
	return nil
}

// Members lists up to most of them by name, from behind a name on; more says that
// there are others behind the last.
func (b *Book) Members(after string, most int) (list []Member, more bool) {
	from, there := slices.BinarySearch(b.names, after)
	if there {
		from++
	}
	to := min(len(b.names), from+most)
	for _, name := range b.names[from:to] {
		list = append(list, b.members[name].Member)
	}
	return list, to < len(b.names)
}

// Member finds one. Errors: ErrUnknown.
func (b *Book) Member(name string) (Member, error) {
	e := b.members[name]
	if e == nil {
		return Member{}, fmt.Errorf("member %s: %w", name, ErrUnknown)
	}
	return e.Member, nil
}

// KeyCountOf is for how many servers a member listed a key.
func (b *Book) KeyCountOf(name string) (n int) {
	if e := b.members[name]; e != nil {
		for _, k := range e.keys {
			if !k.IsZero() {
				n++
			}
		}
	}
	return n
}

// Len is how many members there are.
func (b *Book) Len() int { return len(b.members) }

// Keys lists the keys of a member by server, none if there is no such member.
func (b *Book) Keys(name string) []lease.ServerKey {
	e := b.members[name]
	if e == nil {
		return nil
	}
	var list []lease.ServerKey
	for server, n := range b.numbers {
		if n < len(e.keys) && !e.keys[n].IsZero() {
			list = append(list, lease.ServerKey{Server: server, Key: e.keys[n]})
		}
	}
	slices.SortFunc(list, func(x, y lease.ServerKey) int { return bytes.Compare(x.Server[:], y.Server[:]) })
	return list
}

// KeyCount is how many keys all members have together.
func (b *Book) KeyCount() int { return len(b.owners) }

// Grid is the servers as they are now; it is not to be changed.
func (b *Book) Grid() Grid { return b.grid }

// Claim is how a membership can be claimed: with the secret of that hash, before
// Until, in Unix seconds, if that is not 0.
type Claim struct {
	Hash  [32]byte
	Until int64
}

func (c Claim) check(now time.Time) error {
	if c.Until != 0 && (c.Until <= now.Unix() || c.Until > lastTime) {
		return fmt.Errorf("to be claimed until %d: %w", c.Until, ErrTerms)
	}
	return nil
}

// Add makes a membership. Errors: ErrExists, ErrFull, ErrTerms.
func (b *Book) Add(name string, quota, until *int64, claim Claim, now time.Time) (Change, error) {
	if err := claim.check(now); err != nil {
		return Change{}, err
	}
	if err := checkName(name); err != nil {
		return Change{}, err
	}
	if b.members[name] != nil {
		return Change{}, fmt.Errorf("member %s: %w", name, ErrExists)
	}
	if len(b.members) >= MaxMembers {
		return Change{}, fmt.Errorf("member %s: %w", name, ErrFull)
	}
	m := Member{Name: name, Added: now.Unix(), Claim: claim.Hash, ClaimUntil: claim.Until}
	return m.onTerms(quota, until)
}

// Reissue gives a membership another one-time secret; the one before works no
// more. Where an account has claimed it, that account and its keys are forgotten
// if another one is to take its place: it gets no more cards. Errors:
// ErrUnknown, ErrTerms; ErrClaimed where it was claimed and no other is to come.
func (b *Book) Reissue(name string, claim Claim, another bool, now time.Time) (Change, error) {
	m, err := b.Member(name)
	if err == nil {
		err = claim.check(now)
	}
	if err != nil {
		return Change{}, err
	}
	var c Change
	if !m.Account.IsZero() {
		if !another {
			return Change{}, fmt.Errorf("membership of %s: an account has it: %w", name, ErrClaimed)
		}
		c.Remove = new(m)
	}
	m.Account, m.Joined, m.Claim, m.ClaimUntil = grid.PublicKey{}, 0, claim.Hash, claim.Until
	c.Member = &m
	return c, nil
}

// SetTerms changes quota and end of a membership; both are replaced. Cards that
// are made from now on follow it. Errors: ErrUnknown, ErrTerms.
func (b *Book) SetTerms(name string, quota, until *int64) (Change, error) {
	e := b.members[name]
	if e == nil {
		return Change{}, fmt.Errorf("member %s: %w", name, ErrUnknown)
	}
	return e.onTerms(quota, until)
}

func (m Member) onTerms(quota, until *int64) (Change, error) {
	if quota != nil && *quota < 0 {
		return Change{}, fmt.Errorf("quota of %d bytes: %w", *quota, ErrTerms)
	}
	if until != nil && (*until < 0 || *until > lastTime) {
		return Change{}, fmt.Errorf("end at %d: %w", *until, ErrTerms)
	}
	if quota != nil {
		quota = new(lease.PlanSize(*quota))
	}
	m.Quota, m.Until = quota, until
	return Change{Member: &m}, nil
}

// Remove ends a membership: no cards from now on. Errors: ErrUnknown.
func (b *Book) Remove(name string) (Change, error) {
	e := b.members[name]
	if e == nil {
		return Change{}, fmt.Errorf("member %s: %w", name, ErrUnknown)
	}
	m := e.Member
	return Change{Remove: &m}, nil
}

// AddServer makes a server one of the grid. Errors: ErrExists, ErrFull,
// ErrTerms.
func (b *Book) AddServer(s Server) (Change, error) {
	if s.Name != "" {
		if err := checkName(s.Name); err != nil {
			return Change{}, err
		}
	}
	at, there := b.findServer(s.ID)
	if there {
		return Change{}, fmt.Errorf("server %s: %w", s.ID, ErrExists)
	}
	if len(b.grid.Servers) >= lease.MaxGridServers {
		return Change{}, fmt.Errorf("server %s: %w", s.ID, ErrFull)
	}
	return b.withServers(slices.Insert(slices.Clone(b.grid.Servers), at, s)), nil
}

// RemoveServer ends that members place new shares on a server and get cards
// for it. Errors: ErrUnknown.
func (b *Book) RemoveServer(id grid.ServerID) (Change, error) {
	at, there := b.findServer(id)
	if !there {
		return Change{}, fmt.Errorf("server %s: %w", id, ErrUnknown)
	}
	return b.withServers(slices.Delete(slices.Clone(b.grid.Servers), at, at+1)), nil
}

func (b *Book) withServers(list []Server) Change {
	return Change{Grid: &Grid{list, b.grid.Sequence + 1}}
}

func (b *Book) findServer(id grid.ServerID) (int, bool) {
	return slices.BinarySearchFunc(b.grid.Servers, id, func(s Server, id grid.ServerID) int {
		return bytes.Compare(s.ID[:], id[:])
	})
}

// Find says whom a list of keys is from: the member that the account is, or
// that the secret (nil if none came) makes it. It costs no verification, and
// the list's signature must hold before Enrol may be called. Errors:
// ErrUnknown, ErrClaimed, ErrClaimEnded.
func (b *Book) Find(account grid.PublicKey, secret *Secret, now time.Time) (Member, error) {
	if e := b.accounts[account]; e != nil {
		return e.Member, nil
	}
	if secret == nil {
		return Member{}, fmt.Errorf("account %s: %w", account.Short(), ErrUnknown)
	}
	e := b.claims[secret.Hash()]
	switch {
	case e == nil:
		return Member{}, fmt.Errorf("the one-time secret: %w", ErrUnknown)
	case !e.Account.IsZero():
		return e.Member, fmt.Errorf("membership of %s: %w", e.Name, ErrClaimed)
	case e.Lapsed(now.Unix()):
		return e.Member, fmt.Errorf("membership of %s: %w", e.Name, ErrClaimEnded)
	}
	return e.Member, nil
}

// Enrol makes the account of a signed list of keys the member that Find says,
// and its keys his. Claiming again changes nothing. Errors: those of Find,
// lease.ErrAuthorityExpired, ErrKeyTaken, ErrUnknown for a server that is none
// of the grid.
func (b *Book) Enrol(list lease.SignedKeyList, signed []byte, secret *Secret, now time.Time) (Change, error) {
	m, err := b.Find(list.Account, secret, now)
	if err != nil {
		return Change{}, err
	}
	if m.Ended(now.Unix()) {
		return Change{}, fmt.Errorf("membership of %s: %w", m.Name, lease.ErrAuthorityExpired)
	}
	var c Change
	if m.Account.IsZero() {
		m.Account, m.Joined = list.Account, now.Unix()
		c.Member = &m
	}
	e := *b.members[m.Name]
	e.Member = m
	if err := b.checkKeys(&e, list); err != nil {
		return Change{}, err
	}
	if err := b.checkCover(&e, list.Keys); err != nil {
		return Change{}, err
	}
	if b.adds(&e, list.Keys) {
		c.Keys = &KeyList{m.Name, signed}
	}
	return c, nil
}

// checkKeys wants a list made for this manager, keys that nobody else has, and
// no second key at a server where the member has one.
func (b *Book) checkKeys(e *entry, list lease.SignedKeyList) error {
	if list.Manager != b.manager || list.Account != e.Account {
		return fmt.Errorf("key list of %s: made for another manager or by another account: %w", list.Account.Short(), ErrUnknown)
	}
	for _, k := range list.Keys {
		if k.Key.IsZero() {
			return fmt.Errorf("key at %s: %w", k.Server.Short(), ErrTerms)
		}
		if owner := b.owners[k.Key]; owner != nil && owner.Name != e.Name {
			return fmt.Errorf("key %s: %w", k.Key.Short(), ErrKeyTaken)
		}
		if old := b.keyAt(e, k.Server); !old.IsZero() && old != k.Key {
			return fmt.Errorf("key %s at %s: %w", k.Key.Short(), k.Server.Short(), ErrKeyTaken)
		}
	}
	return nil
}

// checkCover wants keys at servers of the grid alone, and all that the member
// has there already: what a later list left out could else come back as another
// key, with a budget of its own.
func (b *Book) checkCover(e *entry, keys []lease.ServerKey) error {
	covered := 0
	for _, k := range keys {
		if _, there := b.findServer(k.Server); !there {
			return fmt.Errorf("key at %s, no server of the grid: %w", k.Server.Short(), ErrUnknown)
		}
		if !b.keyAt(e, k.Server).IsZero() {
			covered++
		}
	}
	for _, s := range b.grid.Servers {
		if !b.keyAt(e, s.ID).IsZero() {
			covered--
		}
	}
	if covered != 0 {
		return fmt.Errorf("a key that was listed before is missing: %w", ErrKeyTaken)
	}
	return nil
}

func (b *Book) keyAt(e *entry, server grid.ServerID) grid.PublicKey {
	n, ok := b.numbers[server]
	if !ok || n >= len(e.keys) {
		return grid.PublicKey{}
	}
	return e.keys[n]
}

// adds reports whether there is a key that the member does not have yet.
func (b *Book) adds(e *entry, keys []lease.ServerKey) bool {
	return slices.ContainsFunc(keys, func(k lease.ServerKey) bool { return b.keyAt(e, k.Server) != k.Key })
}

// Card says whose key it is that a card is asked for, and on what terms.
// Errors: ErrUnknown for a key that no member has at this server, a server that
// is none of the grid, or a member who was removed; lease.ErrAuthorityExpired.
func (b *Book) Card(server grid.ServerID, key grid.PublicKey, now time.Time) (lease.CardTerms, error) {
	e := b.owners[key]
	if e == nil || b.keyAt(e, server) != key {
		return lease.CardTerms{}, fmt.Errorf("key %s at %s: %w", key.Short(), server.Short(), ErrUnknown)
	}
	if _, there := b.findServer(server); !there {
		return lease.CardTerms{}, fmt.Errorf("server %s: %w", server.Short(), ErrUnknown)
	}
	if e.Ended(now.Unix()) {
		return lease.CardTerms{}, fmt.Errorf("membership of %s: %w", e.Name, lease.ErrAuthorityExpired)
	}
	return lease.CardTerms{Space: e.Quota, End: e.Until}, nil
}

// Apply makes a change, which is durable by now, the book's.
func (b *Book) Apply(c Change) {
	if c.Remove != nil {
		b.forget(c.Remove.Name)
	}
	if c.Member != nil {
		b.put(*c.Member)
	}
	if c.Keys != nil {
		if list, err := lease.DecodeKeyList(c.Keys.Signed); err == nil { // it was read before
			b.putKeys(b.members[c.Keys.Member], list.Keys)
		}
	}
	if c.Grid != nil {
		b.grid = *c.Grid
	}
}

func (b *Book) put(m Member) {
	e := b.members[m.Name]
	if e == nil {
		e = &entry{}
		b.members[m.Name] = e
		at, _ := slices.BinarySearch(b.names, m.Name)
		b.names = slices.Insert(b.names, at, m.Name)
	}
	delete(b.claims, e.Claim)
	e.Member = m
	b.claims[m.Claim] = e
	if !m.Account.IsZero() {
		b.accounts[m.Account] = e
	}
}

func (b *Book) putKeys(e *entry, keys []lease.ServerKey) {
	for _, k := range keys {
		n, ok := b.numbers[k.Server]
		if !ok {
			n = len(b.numbers)
			b.numbers[k.Server] = n
		}
		if n >= len(e.keys) {
			e.keys = append(e.keys, make([]grid.PublicKey, n+1-len(e.keys))...)
		}
		e.keys[n] = k.Key
		b.owners[k.Key] = e
	}
}

func (b *Book) forget(name string) {
	e := b.members[name]
	if e == nil {
		return
	}
	for _, k := range e.keys {
		delete(b.owners, k)
	}
	delete(b.claims, e.Claim)
	delete(b.accounts, e.Account)
	delete(b.members, name)
	if at, there := slices.BinarySearch(b.names, name); there {
		b.names = slices.Delete(b.names, at, at+1)
	}
}

// checkName keeps names fit for tables and command lines.
func checkName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || name[0] == '-' {
		return fmt.Errorf("name of %d bytes (want 1 to %d of UTF-8, not beginning with a dash): %w", len(name), maxName, ErrTerms)
	}
	for _, r := range name {
		if !unicode.IsPrint(r) || unicode.IsSpace(r) {
			return fmt.Errorf("name %q has a blank or a character that can't be shown: %w", name, ErrTerms)
		}
	}
	return nil
}
