package users

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// Source is where users come from.
type Source interface {
	// User is the one with a name, as of now.
	User(name string) (User, bool)
}

// comparisons is how many passwords are compared at a time: it takes a processor a
// tenth of a second each, and who guesses is not to have them all.
const comparisons = 1

// Passwords tells who knows a password. It remembers for as long as it lives, by a
// keyed hash, what was right, since programs show the password with each request.
type Passwords struct {
	source Source
	key    [32]byte
	dummy  string
	turns  chan struct{}

	mu    sync.Mutex
	known map[string][32]byte // by name
}

// NewPasswords compares with what the users of a source have.
func NewPasswords(source Source) (*Passwords, error) {
	p := &Passwords{source: source, turns: make(chan struct{}, comparisons), known: map[string][32]byte{}}
	_, _ = rand.Read(p.key[:]) // never fails
	var err error
	p.dummy, err = Hash(rand.Text())
	return p, err
}

// User is the one with that name, if the password is his. For a name that nobody
// has it takes as long as for a wrong password.
func (p *Passwords) User(ctx context.Context, name, password string) (User, bool) {
	u, found := p.source.User(name)
	hash := u.Hash
	if !found || hash == "" {
		hash, found = p.dummy, false
	}
	mark := p.mark(name, hash, password)
	if found && p.remembers(name, mark) {
		return u, true
	}
	select {
	case p.turns <- struct{}{}:
	case <-ctx.Done():
		return User{}, false
	}
	defer func() { <-p.turns }()
	if found && p.remembers(name, mark) { // while we waited
		return u, true
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) != nil || !found {
		return User{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known[name] = mark
	return u, true
}

// mark is of all three, so that a password that was changed counts no more.
func (p *Passwords) mark(name, hash, password string) (m [32]byte) {
	h := hmac.New(sha256.New, p.key[:])
	for _, s := range []string{name, hash, password} {
		sum := sha256.Sum256([]byte(s))
		h.Write(sum[:])
	}
	h.Sum(m[:0])
	return m
}

func (p *Passwords) remembers(name string, mark [32]byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, ok := p.known[name]
	return ok && subtle.ConstantTimeCompare(known[:], mark[:]) == 1
}
