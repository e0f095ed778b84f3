package tarn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/manager"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease/membership"
	"github.com/tarn-grid/tarn/transport/wire"
)

// memberFiles implements manager.Store with two small files for each member,
// his terms and the list of keys that he signed, and one for the servers. Each
// is replaced as a whole.
type memberFiles struct{ dir string }

var _ manager.Store = memberFiles{}

func (f nodeFolder) memberFiles() memberFiles { return memberFiles{f.private("manager")} }

const (
	memberSuffix = ".member"
	keysSuffix   = ".keys"
	serversFile  = "servers"
	// maxMemberFile bounds each of the files, in bytes.
	maxMemberFile = 1 << 20
	// memberFormat is the version of all of them.
	memberFormat = 1
)

// memberRecord is a member in his file. Times are Unix seconds.
type memberRecord struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	Quota  *int64 `json:"quota"`
	Until  *int64 `json:"until"`
	Added  int64  `json:"added"`
	Joined int64  `json:"joined,omitempty"`
	Claim  []byte `json:"claim"`
	// ClaimUntil is left out for never.
	ClaimUntil int64  `json:"claim_until,omitempty"`
	Account    []byte `json:"account,omitempty"`
}

type serverRecord struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

type serversRecord struct {
	Format   int            `json:"format"`
	Sequence uint64         `json:"sequence"`
	Servers  []serverRecord `json:"servers"`
}

// path of a member's file.
func (f memberFiles) path(name, suffix string) string {
	return filepath.Join(f.dir, fileNameOf(name)+suffix)
}

// Load implements manager.Store.
func (f memberFiles) Load() (membership.State, error) {
	var s membership.State
	entries, err := os.ReadDir(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	for _, e := range entries {
		switch {
		case strings.HasSuffix(e.Name(), memberSuffix):
			err = f.loadMember(&s, e.Name())
		case e.Name() == serversFile:
			err = f.loadServers(&s)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// loadMember reads a member and his keys.
func (f memberFiles) loadMember(s *membership.State, name string) error {
	path := filepath.Join(f.dir, name)
	var r memberRecord
	if err := readRecord(path, &r); err != nil {
		return err
	}
	m, err := r.member()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s.Members = append(s.Members, m)
	signed, err := readBounded(f.path(m.Name, keysSuffix), maxMemberFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	s.Keys = append(s.Keys, membership.KeyList{Member: m.Name, Signed: signed})
	return nil
}

func (r memberRecord) member() (membership.Member, error) {
	m := membership.Member{Name: r.Name, Quota: r.Quota, Until: r.Until, Added: r.Added, Joined: r.Joined, ClaimUntil: r.ClaimUntil}
	if r.Format != memberFormat {
		return m, fmt.Errorf("format %d (this program knows format %d)", r.Format, memberFormat)
	}
	if copy(m.Claim[:], r.Claim) != len(m.Claim) || len(r.Account) > 0 && copy(m.Account[:], r.Account) != len(m.Account) {
		return m, errors.New("it is damaged: a key has the wrong length")
	}
	return m, nil
}

func (f memberFiles) loadServers(s *membership.State) error {
	path := filepath.Join(f.dir, serversFile)
	var r serversRecord
	if err := readRecord(path, &r); err != nil {
		return err
	}
	if r.Format != memberFormat {
		return fmt.Errorf("%s: format %d (this program knows format %d)", path, r.Format, memberFormat)
	}
	s.Sequence = r.Sequence
	for _, server := range r.Servers {
		id, err := grid.ParseServerID(server.ID)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		s.Servers = append(s.Servers, membership.Server{ID: id, Name: server.Name})
	}
	return nil
}

// readRecord reads one JSON object.
func readRecord(path string, into any) error { return readRecordUpTo(path, maxMemberFile, into) }

func readRecordUpTo(path string, limit int64, into any) error {
	b, err := readBounded(path, limit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}

func writeRecord(path string, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return writeFile(path, append(b, '\n'))
}

// Save implements manager.Store.
func (f memberFiles) Save(c membership.Change) error {
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	if c.Remove != nil {
		if err := f.remove(c.Remove.Name); err != nil {
			return err
		}
	}
	if c.Member != nil {
		if err := writeRecord(f.path(c.Member.Name, memberSuffix), recordOf(*c.Member)); err != nil {
			return err
		}
	}
	if c.Keys != nil {
		if err := writeFile(f.path(c.Keys.Member, keysSuffix), c.Keys.Signed); err != nil {
			return err
		}
	}
	if c.Grid == nil {
		return nil
	}
	r := serversRecord{Format: memberFormat, Sequence: c.Grid.Sequence}
	for _, s := range c.Grid.Servers {
		r.Servers = append(r.Servers, serverRecord{s.ID.String(), s.Name})
	}
	return writeRecord(filepath.Join(f.dir, serversFile), r)
}

func recordOf(m membership.Member) memberRecord {
	r := memberRecord{Format: memberFormat, Name: m.Name, Quota: m.Quota, Until: m.Until, Added: m.Added, Joined: m.Joined, Claim: m.Claim[:], ClaimUntil: m.ClaimUntil}
	if !m.Account.IsZero() {
		r.Account = m.Account[:]
	}
	return r
}

// remove deletes the member first: keys without one are nobody's, and are
// replaced when another member of that name joins.
func (f memberFiles) remove(name string) error {
	for _, suffix := range []string{memberSuffix, keysSuffix} {
		if err := os.Remove(f.path(name, suffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(f.dir)
}

// A client keeps two files for each membership: the reference, which is written
// when it joins, and what the manager said.
const (
	referenceSuffix = ".reference"
	stateSuffix     = ".json"
)

func (f nodeFolder) membershipPath(manager grid.ServerID, suffix string) string {
	return f.private("memberships", manager.String()+suffix)
}

func (f nodeFolder) saveMembership(r MembershipRef) error {
	text, err := r.Text()
	if err == nil {
		err = os.MkdirAll(f.private("memberships"), 0o700)
	}
	if err == nil {
		err = writeFile(f.membershipPath(r.Manager.Server, referenceSuffix), []byte(text+"\n"))
	}
	if err != nil {
		return fmt.Errorf("keep the membership: %w", err)
	}
	return nil
}

// forgetMembership removes the reference, unless the manager ever took it.
func (f nodeFolder) forgetMembership(r MembershipRef) error {
	if _, err := os.Stat(f.membershipPath(r.Manager.Server, stateSuffix)); err == nil {
		return nil
	}
	return os.Remove(f.membershipPath(r.Manager.Server, referenceSuffix))
}

func (f nodeFolder) membership(c Config, r MembershipRef) client.Membership {
	return client.Membership{
		Manager: c.target(r.Manager), Secret: wire.Secret(r.Secret),
		Store: membershipFile{f.membershipPath(r.Manager.Server, stateSuffix)},
	}
}

// memberships are those that the client joined, by manager.
func (f nodeFolder) memberships() ([]MembershipRef, error) {
	files, err := filepath.Glob(f.private("memberships", "*"+referenceSuffix))
	if err != nil {
		return nil, err
	}
	var list []MembershipRef
	for _, path := range files {
		text, err := readBounded(path, maxMemberFile)
		if err != nil {
			return nil, err
		}
		r, err := ParseMembershipRef(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, r)
	}
	return list, nil
}

// membershipFile implements client.MembershipStore with a file.
type membershipFile struct{ path string }

var _ client.MembershipStore = membershipFile{}

type membershipRecord struct {
	Format  int      `json:"format"`
	Joined  bool     `json:"joined"`
	Name    string   `json:"name,omitempty"`
	Quota   *uint64  `json:"quota"`
	Until   int64    `json:"until,omitempty"`
	Servers []byte   `json:"servers,omitempty"`
	Listed  []string `json:"listed,omitempty"`
	Cards   [][]byte `json:"cards,omitempty"`
	Below   [][]byte `json:"below,omitempty"`
}

// Load implements client.MembershipStore.
func (f membershipFile) Load() (client.MembershipState, error) {
	var r membershipRecord
	err := readRecord(f.path, &r)
	if errors.Is(err, fs.ErrNotExist) {
		return client.MembershipState{}, nil
	}
	if err == nil && r.Format != memberFormat {
		err = fmt.Errorf("%s: format %d (this program knows format %d)", f.path, r.Format, memberFormat)
	}
	if err != nil {
		return client.MembershipState{}, err
	}
	s := client.MembershipState{Servers: r.Servers, Cards: r.Cards, Below: r.Below}
	if r.Joined {
		s.Terms = &wire.Enrolled{Name: r.Name, Until: r.Until}
		if r.Quota != nil {
			s.Terms.HasQuota, s.Terms.Quota = true, *r.Quota
		}
	}
	for _, text := range r.Listed {
		id, err := grid.ParseServerID(text)
		if err != nil {
			return client.MembershipState{}, fmt.Errorf("%s: %w", f.path, err)
		}
		s.Listed = append(s.Listed, id)
	}
	return s, nil
}

// Forget implements client.MembershipStore. The reference goes first: without it
// the rest is nobody's.
func (f membershipFile) Forget() error {
	for _, path := range []string{strings.TrimSuffix(f.path, stateSuffix) + referenceSuffix, f.path} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return syncDir(filepath.Dir(f.path))
}

// Save implements client.MembershipStore.
func (f membershipFile) Save(s client.MembershipState) error {
	r := membershipRecord{Format: memberFormat, Servers: s.Servers, Cards: s.Cards, Below: s.Below}
	if t := s.Terms; t != nil {
		r.Joined, r.Name, r.Until = true, t.Name, t.Until
		if t.HasQuota {
			r.Quota = &t.Quota
		}
	}
	for _, id := range s.Listed {
		r.Listed = append(r.Listed, id.String())
	}
	return writeRecord(f.path, r)
}
