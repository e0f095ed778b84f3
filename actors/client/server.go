package client

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport"
	"github.com/tarn-grid/tarn/transport/clause"
	"github.com/tarn-grid/tarn/transport/wire"
)

// server keeps one connection to one storage server, under an identity that
// is made for that connection and never used again.
//
// Owns: the session with its host and identity, a direct one that is to take the place of one through a relay, the backoff, the cached reference, unanswered requests, the share readers offered there.
// On failure: restarts without a connection and dials again; requests that were unanswered fail, uploads offer their shares again.
type server struct {
	env *env.Env
	serverParts
	known clause.Server

	link       *link
	generation uint64    // of the link; answers for another one are stale
	heard      time.Time // when it last said something
	since      time.Time // when it was made
	asked      bool      // for a turn to dial, which is not over
	unreached  int       // dials that found nobody
	renewing   bool
	backoff    backoff
	punch      punching
	stopTimer  func()

	credential int         // which one is tried; past the last one, we only read
	signedAs   signedLogin // of that one
	refusal    error       // why the last one was refused
	refusals   int         // how many times in a row all of them were

	report serverReport
	calls  calls
	offers map[wire.Secret]offeredReader
	pulls  []pull
	subs   map[string]*actor.PID
}

// serverParts is what every server actor is born with.
type serverParts struct {
	dialer               transport.Dialer
	rules                clause.Rules
	references           ReferenceCache
	turns, vault, broker *actor.PID
	label                grid.PublicKey // the only account to log in for; zero is any
	from                 time.Time      // not to be dialled before
}

func newServer(e *env.Env, p serverParts, known clause.Server) env.Producer {
	return func() actor.Actor {
		return &server{
			env: e, serverParts: p, known: known, backoff: backoff{env: e},
			offers: map[wire.Secret]offeredReader{}, subs: map[string]*actor.PID{}, calls: newCalls(),
		}
	}
}

type (
	// announced is what is new of the server: of what it says, or of how it is to
	// be reached.
	announced struct{ server clause.Server }
	// drawnTime has come for a dial.
	drawnTime struct{ generation uint64 }
	// tryAgain makes a server that is down, or that refused us, be tried now.
	tryAgain struct{}
	// loginAnew makes a server that is logged in go through our keys again: one
	// of them is ours no longer.
	loginAnew struct{}
	// helloLate ends the wait for hello and login.
	helloLate struct{ generation uint64 }
	// loginAgain renews the reference, or tries our keys again.
	loginAgain struct{ generation uint64 }
	// referenceLoaded is what the cache held.
	referenceLoaded struct {
		generation uint64
		reference  []byte
		signed     signedLogin
	}
	callsDue struct{}
)

// Receive implements actor.Actor.
func (s *server) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		s.generation = uint64(s.env.Rand.Int64N(1 << 62)) // no other actor's
		s.dial(ctx)
	case announced:
		s.announced(ctx, m.server)
	case drawnTime:
		if m.generation == s.generation {
			s.askTurn(ctx)
		}
	case yourTurn:
		s.connect(ctx, m)
	case dialNow:
		s.dial(ctx)
	case tryAgain:
		s.tryAgain(ctx)
	case loginAnew:
		if s.report.state == LoggedIn {
			s.again(ctx)
		}
	case linkEvent:
		s.linkEvent(ctx, m)
	case signedLogin:
		s.signed(ctx, m)
	case referenceLoaded:
		s.login(m)
	case helloLate:
		if m.generation == s.generation && s.report.state == Dialing {
			s.lost(ctx, fmt.Errorf("%w: no hello or login within %v", transport.ErrUnreachable, helloTime))
		}
	case loginAgain:
		s.loginAgain(ctx, m)
	case Call:
		s.call(ctx, m)
	case callsDue:
		s.callsDue(ctx)
		s.moveOn(ctx)
	case punchNow:
		s.tryPunch(ctx, m)
	case punchLate:
		s.punchLate(ctx, m)
	case offerReader:
		s.offers[m.secret] = m.offeredReader
	case withdrawReader:
		s.withdraw(m.secret)
	case subscribe:
		s.subscribe(ctx, m)
	case *actor.Terminated:
		s.unsubscribe(m.Who)
	case sayAgain:
		ctx.Send(s.broker, s.report)
	case *actor.Stopping, *actor.Restarting:
		s.calls.failAll(ctx, ErrNotConnected)
		s.stopPunching()
		s.link.close()
		s.endTurn(ctx)
	}
}

// announced keeps to what is new. A connection that is not to be as it is any
// more ends at once.
func (s *server) announced(ctx actor.Context, known clause.Server) {
	was := s.known
	s.known = known
	switch {
	case was.SameRoad(known):
		ctx.Send(s.broker, s.report) // a new broker knows the server only now
	default:
		s.backoff.reset()
		s.again(ctx)
	}
}

// dial asks for a turn to connect, after a time drawn at random if the node is
// anonymous.
func (s *server) dial(ctx actor.Context) {
	s.generation++
	s.stopTimers()
	s.say(ctx, Dialing, s.report.err)
	if s.rules.Anonymous {
		wait := max(0, s.from.Sub(s.env.Clock.Now())) + drawn(s.env)
		s.stopTimer = s.env.Clock.After(wait, ctx.Self(), drawnTime{s.generation})
		return
	}
	s.askTurn(ctx)
}

func (s *server) askTurn(ctx actor.Context) {
	s.asked = true
	ctx.Send(s.turns, askTurn{ctx.Self(), s.known.Announcement.Server, s.generation, s.backoff.failures, s.env.Clock.Now()})
}

// connect makes a connection under a new identity.
func (s *server) connect(ctx actor.Context, m yourTurn) {
	if m.generation != s.generation {
		return // it was given up
	}
	s.since = s.env.Clock.Now()
	target := transport.Target{Server: s.known.Announcement.Server, Hints: s.hints(), Connections: s.known.Connections}
	s.link = dial(s.env, ctx.Self(), s.dialer, target, true)
}

// endTurn lets others have theirs.
func (s *server) endTurn(ctx actor.Context) {
	if s.asked {
		s.asked = false
		ctx.Send(s.turns, turnOver{ctx.Self()})
	}
}

// hints are the addresses to dial: a few, after a failure the next ones. Where
// there are none the dialer is to say why.
func (s *server) hints() []grid.Hint {
	all := s.known.Connections.Dialable(s.known.Announcement.Hints)
	if len(all) == 0 {
		return s.known.Announcement.Hints
	}
	if len(all) <= maxDialHints {
		return all
	}
	from := s.unreached * maxDialHints % len(all)
	return slices.Concat(all[from:], all[:from])[:maxDialHints]
}

func (s *server) stopTimers() {
	if s.stopTimer != nil {
		s.stopTimer()
		s.stopTimer = nil
	}
}

// tryAgain ends a backoff, and asks a server that accepted no key of ours
// once more, over a new connection.
func (s *server) tryAgain(ctx actor.Context) {
	switch s.report.state {
	case Backoff:
		s.credential, s.refusal = 0, nil
		s.dial(ctx)
	case Connected:
		s.again(ctx)
	case LoggedIn:
		if s.signedAs.key.IsZero() {
			s.again(ctx)
			return
		}
		ctx.Send(s.broker, s.report)
	default:
		ctx.Send(s.broker, s.report)
	}
}

// again goes through all credentials from the first on, over a new connection.
func (s *server) again(ctx actor.Context) {
	s.credential, s.refusal = 0, nil
	s.reconnect(ctx)
}

func (s *server) reconnect(ctx actor.Context) {
	s.linkDown(ctx, ErrNotConnected)
	s.dial(ctx)
}

func (s *server) linkEvent(ctx actor.Context, m linkEvent) {
	if m.link == s.punch.link {
		s.punchEvent(ctx, m)
		return
	}
	if m.link != s.link {
		m.Discard()
		return
	}
	switch e := m.event.(type) {
	case linkOpen:
		s.endTurn(ctx)
		s.greet(ctx, e.session)
	case linkFrame:
		s.frame(ctx, e.frame)
	case linkClosed:
		if s.link.session == nil {
			s.unreached++
		}
		s.lost(ctx, e.err)
	case pullFrame:
		s.pullFrame(ctx, e)
	case pullEnded:
		s.pullEnded(e.conv)
	}
}

// greet begins on a connection.
func (s *server) greet(ctx actor.Context, session transport.Session) {
	s.link.open(session, transport.Storage)
	s.stopTimer = s.env.Clock.After(helloTime, ctx.Self(), helloLate{s.generation})
	s.request(&wire.Hello{Version: wire.Version, MaxBody: wire.MaxRead, MaxRequests: maxCalls}, s.hello)
}

// request sends something for the server actor itself.
func (s *server) request(m wire.Message, then func(actor.Context, wire.Message)) {
	s.link.send(s.calls.begin(s.env.Clock.Now(), wire.Frame{Message: m}, pending{then: then}))
}

func (s *server) frame(ctx actor.Context, f wire.Frame) {
	s.link.grant(1)
	s.heard = s.env.Clock.Now()
	if !f.Answer {
		s.notice(ctx, f)
		return
	}
	p, ok := s.calls.end(f.ID)
	switch {
	case !ok:
		f.Release() // it came too late, or was never asked for
	case p.then != nil:
		f.Release()
		p.then(ctx, f.Message)
	default:
		s.report.roundTrip = s.env.Clock.Now().Sub(p.sent)
		s.learnRoom(ctx, f.Message)
		if e, ok := f.Message.(*wire.Error); ok && e.Code == wire.AuthorityExpired && !s.renewing {
			s.renew(ctx)
		}
		p.deliver(ctx, f)
	}
	s.sendQueued()
	s.moveOn(ctx)
}

// hello begins the login.
func (s *server) hello(ctx actor.Context, m wire.Message) {
	switch m := m.(type) {
	case *wire.Hello:
		s.calls.most = int(min(maxCalls, max(1, m.MaxRequests)))
		s.askVault(ctx)
	case *wire.Error:
		s.lost(ctx, m)
	default:
		s.lost(ctx, fmt.Errorf("%w: %T instead of a hello", transport.ErrProtocol, m))
	}
}

func (s *server) askVault(ctx actor.Context) {
	var nonce lease.Nonce
	_, _ = s.env.Rand.Read(nonce[:]) // never fails
	m := signLogin{
		replyTo: ctx.Self(), generation: s.generation, server: s.known.Announcement,
		beneficiary: s.link.session.Local(), nonce: nonce, credential: s.credential, label: s.serverParts.label,
	}
	if s.report.state == LoggedIn {
		m.again, m.againKey = s.signedAs.id, s.signedAs.key
	}
	ctx.Send(s.vault, m)
}

// signed looks for a cached reference of the key that signed. A credential
// that can't sign is passed over: the server has not seen it.
func (s *server) signed(ctx actor.Context, m signedLogin) {
	switch {
	case m.generation != s.generation:
		return
	case !m.ok:
		s.withoutKey()
		return
	case m.err != nil:
		s.env.Log.Error("login could not be signed", "server", s.known.Announcement.Server.Short(), "error", m.err)
		s.refusal = fmt.Errorf("sign the login: %w", m.err)
		s.credential++
		s.askVault(ctx)
		return
	}
	s.signedAs = m
	id, references := s.known.Announcement.Server, s.references
	s.env.Exec.Do(env.Disk, ctx.Self(), func() any {
		reference, err := references.Load(id, m.id)
		if err != nil {
			reference = nil // it is only a cache: log in
		}
		return referenceLoaded{m.generation, reference, m}
	})
}

// withoutKey is what is left when no credential was accepted: some servers
// store for clients without a key, the others are only read from.
func (s *server) withoutKey() {
	if s.report.state != Dialing {
		return
	}
	s.request(&wire.LoginWithoutKey{}, func(ctx actor.Context, m wire.Message) {
		if _, ok := m.(*wire.LoggedIn); !ok {
			s.up(ctx, Connected, cmp.Or(s.refusal, errNoAccount))
			return
		}
		s.signedAs = signedLogin{}
		s.up(ctx, LoggedIn, nil)
		s.request(&wire.Find{}, s.learnRoom)
		s.loginLater(ctx, loginInterval)
	})
}

// loginLater goes through our keys again after a while.
func (s *server) loginLater(ctx actor.Context, wait time.Duration) {
	s.stopTimers()
	s.stopTimer = s.env.Clock.After(s.env.Jitter(wait), ctx.Self(), loginAgain{s.generation})
}

// login shows the cached reference, or the signed request if there is none.
func (s *server) login(m referenceLoaded) {
	if m.generation != s.generation {
		return
	}
	full := &wire.Login{Chain: m.signed.chain, Request: m.signed.request}
	if m.reference == nil || s.report.state == LoggedIn {
		s.request(full, s.loggedIn)
		return
	}
	s.request(&wire.Resume{Reference: m.reference}, func(ctx actor.Context, a wire.Message) {
		if _, refused := a.(*wire.Error); refused {
			s.request(full, s.loggedIn)
			return
		}
		s.loggedIn(ctx, a)
	})
}

func (s *server) loggedIn(ctx actor.Context, m wire.Message) {
	switch m := m.(type) {
	case *wire.LoggedIn:
		s.keep(m.Reference)
		s.renewing = false
		s.refusals = 0
		if s.report.state != LoggedIn {
			s.up(ctx, LoggedIn, nil)
			s.request(&wire.Find{}, s.learnRoom)
		}
		left := time.Unix(m.Expires, 0).Sub(s.env.Clock.Now()) - referenceMargin
		s.stopTimers()
		s.stopTimer = s.env.Clock.After(max(left, firstBackoff), ctx.Self(), loginAgain{s.generation})
	case *wire.Error:
		s.loginRefused(ctx, m)
	default:
		s.lost(ctx, fmt.Errorf("%w: %T instead of a login", transport.ErrProtocol, m))
	}
}

// learnRoom notes how large a share the server would take, which it says
// along with every Found.
func (s *server) learnRoom(ctx actor.Context, m wire.Message) {
	if f, ok := m.(*wire.Found); ok && f.Room != s.report.room {
		s.report.room = f.Room
		ctx.Send(s.broker, s.report)
		if f.Room == 0 && s.report.state == LoggedIn && s.signedAs.key.IsZero() {
			s.loginLater(ctx, s.loginWait()) // perhaps only accounts may store here now
		}
	}
}

// loginRefused tries the next credential over a new connection. What is not
// about the credential is a failure of the connection.
func (s *server) loginRefused(ctx actor.Context, m *wire.Error) {
	switch {
	case (m.Code == wire.Busy || m.Code == wire.Internal) && s.report.state == LoggedIn:
		// The old reference holds for a while, and renew tries again.
	case m.Code == wire.Busy || m.Code == wire.Internal:
		s.lost(ctx, m)
	default:
		if s.report.state == LoggedIn {
			s.env.Log.Warn("the server accepts this node's authority no longer", "server", s.known.Announcement.Server.Short(), "nickname", s.known.Name(), "error", m)
		}
		s.refusal = m
		s.credential++
		s.reconnect(ctx)
	}
}

func (s *server) keep(reference []byte) {
	id, credential, references, log := s.known.Announcement.Server, s.signedAs.id, s.references, s.env.Log
	s.env.Exec.Do(env.Disk, nil, func() any {
		if err := references.Save(id, credential, reference); err != nil {
			log.Warn("reference could not be cached; the next connection logs in again", "server", id.Short(), "error", err)
		}
		return nil
	})
}

// loginAgain renews a reference that nears its end on the connection there
// is, and asks a server that refused us once more.
func (s *server) loginAgain(ctx actor.Context, m loginAgain) {
	switch {
	case m.generation != s.generation:
	case s.report.state == Connected:
		s.again(ctx)
	case s.report.state == LoggedIn:
		s.renew(ctx)
	}
}

// renew logs in once more over the connection there is, again and again until
// there is an answer.
func (s *server) renew(ctx actor.Context) {
	if s.signedAs.key.IsZero() { // there is nothing to renew, but perhaps a key is accepted now
		s.again(ctx)
		return
	}
	s.renewing = true
	s.stopTimers()
	s.stopTimer = s.env.Clock.After(renewRetry, ctx.Self(), loginAgain{s.generation})
	s.askVault(ctx)
}

// up is the end of a successful connect.
func (s *server) up(ctx actor.Context, state State, err error) {
	s.stopTimers()
	if state == Connected {
		s.loginLater(ctx, s.loginWait())
	}
	s.say(ctx, state, err)
	ctx.Send(s.turns, valued{[]grid.ServerID{s.known.Announcement.Server}, true})
	s.tellSubscribers(ctx)
	s.moved()
	if state == LoggedIn {
		s.punchLater(ctx)
	}
}

// loginWait is how long a server that accepted none of our keys is left in
// peace: longer each time, because its operator may be about to add one.
func (s *server) loginWait() time.Duration {
	wait := loginInterval
	if s.refusals < 16 {
		wait = min(wait, firstLoginWait<<s.refusals)
	}
	s.refusals++
	return wait
}

// lost waits before the next attempt, the longer the less of late a connection
// stood.
func (s *server) lost(ctx actor.Context, err error) {
	switch connected := s.report.state == Connected || s.report.state == LoggedIn; {
	case connected && s.env.Clock.Now().Sub(s.since) >= steadyTime:
		s.backoff.reset()
	case connected:
		s.backoff.atMost(comingFailures)
	}
	s.linkDown(ctx, err)
	s.say(ctx, Backoff, err)
	s.stopTimer = s.env.Clock.After(s.backoff.next(), ctx.Self(), dialNow{})
}

// linkDown lets go of the connection and fails what was unanswered on it.
func (s *server) linkDown(ctx actor.Context, err error) {
	s.stopTimers()
	s.endTurn(ctx)
	s.stopPunching()
	s.link.close()
	s.link = nil
	s.generation++ // what comes of a login over it is stale
	s.pulls, s.renewing = nil, false
	s.calls.failAll(ctx, fmt.Errorf("%w: %w", ErrNotConnected, err))
	s.report.state = Backoff
	s.tellSubscribers(ctx)
}

func (s *server) say(ctx actor.Context, state State, err error) {
	r := &s.report
	*r = serverReport{
		server: s.known.Announcement.Server, pid: ctx.Self(), state: state, since: s.env.Clock.Now(),
		generation: s.generation, roundTrip: r.roundTrip, room: r.room, err: err, settled: state != Dialing,
	}
	if state == LoggedIn {
		r.account, r.label = s.signedAs.key, s.signedAs.label
	}
	if s.link != nil && s.link.session != nil {
		r.address, r.path = s.link.session.Address(), s.link.session.Path()
	}
	if log := s.env.Log.With("server", s.known.Announcement.Server.Short(), "nickname", s.known.Name()); err != nil && state != Dialing {
		log.Info("server "+string(state), "error", err)
	} else if state != Dialing {
		log.Info("server "+string(state), "address", r.address, "path", r.path)
	}
	ctx.Send(s.broker, *r)
}

// ErrNotConnected fails a Call while the server can't be reached.
var ErrNotConnected = errors.New("not connected to the server")

// errNoAccount is why a server is only read from.
var errNoAccount = errors.New("this node has no key that the server accepts; its operator can add one with: tarn server add-account")
