package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/lease/membership"
)

// Paths for an account manager's operator, and for members.
const (
	pathMembers      = "/v1/manager/members"
	pathListMembers  = "/v1/manager/list"
	pathReissue      = "/v1/manager/reissue"
	pathQuota        = "/v1/manager/quota"
	pathUntil        = "/v1/manager/until"
	pathRemoveMember = "/v1/manager/remove"
	pathServers      = "/v1/manager/servers"
	pathRemoveServer = "/v1/manager/remove-server"
	pathUsageReader  = "/v1/manager/usage-authority"
	pathJoin         = "/v1/join"
	pathMemberships  = "/v1/memberships"
	pathLeave        = "/v1/leave"
)

// maxMembershipRef bounds the text of a membership reference, in bytes.
const maxMembershipRef = 64 << 10

// Member is a member of an account manager as JSON: quota is bytes at each
// server or null, times are RFC 3339.
type Member struct {
	Name    string     `json:"name"`
	State   string     `json:"state"` // invited, lapsed, member or ended
	Account string     `json:"account,omitempty"`
	Quota   *int64     `json:"quota"`
	Until   *time.Time `json:"until"`
	Added   time.Time  `json:"added"`
	Joined  time.Time  `json:"joined,omitzero"`
	// ClaimUntil is when the reference ends that nobody has joined with.
	ClaimUntil time.Time   `json:"claim_until,omitzero"`
	KeyCount   int         `json:"key_count"`
	Keys       []ServerKey `json:"keys,omitempty"` // if asked for
}

// ServerKey is a member's key at a server.
type ServerKey struct {
	Server string `json:"server"`
	Key    string `json:"key"`
}

// MembersAsk asks for a part of the members: those behind one, by name.
type MembersAsk struct {
	After string `json:"after,omitempty"`
	Keys  bool   `json:"keys,omitempty"`
}

// MembersPart is that part; More says that others are behind its last.
type MembersPart struct {
	Members []Member `json:"members"`
	More    bool     `json:"more,omitempty"`
}

// ReissueAsk asks for another reference for a member. ClaimUntil is in Unix
// seconds, 0 for never; Another has another account take the place of his.
type ReissueAsk struct {
	Name       string `json:"name"`
	ClaimUntil int64  `json:"claim_until,omitempty"`
	Another    bool   `json:"another_account,omitempty"`
}

// AddedMember is a new member, and the secret text that he joins with.
type AddedMember struct {
	Member    Member `json:"member"`
	Reference string `json:"reference"`
}

// MemberTerms names a member and what is to change.
type MemberTerms struct {
	Name  string `json:"name"`
	Quota *int64 `json:"quota,omitempty"`
	Until *int64 `json:"until,omitempty"` // Unix seconds
	// ClaimUntil of a new member, in Unix seconds; 0 is never.
	ClaimUntil int64 `json:"claim_until,omitempty"`
}

// GridServer is a server of an account manager's grid.
type GridServer struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Membership is tarn.Membership as JSON.
type Membership struct {
	Manager    string     `json:"manager"`
	Joined     bool       `json:"joined"`
	Name       string     `json:"name,omitempty"`
	Quota      *int64     `json:"quota"`
	Until      *time.Time `json:"until"`
	Servers    int        `json:"servers"`
	Cards      int        `json:"cards"`
	CardsUntil time.Time  `json:"cards_until,omitzero"`
	LastError  string     `json:"last_error,omitempty"`
}

// LeaveAsk asks to end a membership; Cancel gives up what was stored under it.
type LeaveAsk struct {
	Manager string `json:"manager"`
	Cancel  bool   `json:"cancel,omitempty"`
}

// Leaving is tarn.Leaving as JSON.
type Leaving struct {
	Cancelled int           `json:"cancelled"`
	Left      int           `json:"left"`
	LastEnd   time.Time     `json:"last_end,omitzero"`
	Failed    []ServerError `json:"failed,omitempty"`
}

func timeOf(seconds *int64) *time.Time {
	if seconds == nil {
		return nil
	}
	return new(time.Unix(*seconds, 0).UTC())
}

func secondsOf(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	return new(t.Unix())
}

// unixTime is the zero time for 0.
func unixTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// MemberOf is a member in its JSON form.
func MemberOf(m tarn.Member) Member {
	out := memberOf(m.Member)
	out.KeyCount = m.KeyCount
	for _, k := range m.Keys {
		out.Keys = append(out.Keys, ServerKey{k.Server.String(), k.Key.String()})
	}
	return out
}

func memberOf(m membership.Member) Member {
	return Member{
		Name: m.Name, State: stateOf(m), Account: keyText(m.Account), Quota: m.Quota, Until: timeOf(m.Until),
		Added: unixTime(m.Added), Joined: unixTime(m.Joined), ClaimUntil: unixTime(m.ClaimUntil),
	}
}

func stateOf(m membership.Member) string {
	switch {
	case m.Ended(time.Now().Unix()):
		return "ended"
	case m.Lapsed(time.Now().Unix()):
		return "lapsed"
	case m.Joined == 0:
		return "invited"
	}
	return "member"
}

// member reads what memberOf wrote, but for the claim.
func (m Member) member() (membership.Member, error) {
	out := membership.Member{Name: m.Name, Quota: m.Quota, Until: secondsOf(m.Until), Added: m.Added.Unix()}
	if !m.ClaimUntil.IsZero() {
		out.ClaimUntil = m.ClaimUntil.Unix()
	}
	if m.Account == "" {
		return out, nil
	}
	out.Joined = m.Joined.Unix()
	var err error
	out.Account, err = grid.ParsePublicKey(m.Account)
	return out, err
}

func membershipOf(m tarn.Membership) Membership {
	return Membership{
		Manager: m.Manager.String(), Joined: m.Joined, Name: m.Name, Quota: m.Quota, Until: timeOf(m.Until),
		Servers: m.Servers, Cards: m.Cards, CardsUntil: unixTime(m.CardsUntil), LastError: m.LastError,
	}
}

func (s *server) handleManager(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathListMembers, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, ask MembersAsk) (MembersPart, error) {
		list, more, err := m.Members(ctx, ask.After, ask.Keys)
		return MembersPart{listOf(list, MemberOf), more}, err
	}))
	mux.HandleFunc("POST "+pathReissue, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, ask ReissueAsk) (AddedMember, error) {
		return addedOf(m.Reissue(ctx, ask.Name, ask.ClaimUntil, ask.Another))
	}))
	mux.HandleFunc("POST "+pathMembers, handledBy(s.node.Manager, maxObject, addMember))
	mux.HandleFunc("POST "+pathQuota, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, ask MemberTerms) (struct{}, error) {
		return struct{}{}, m.SetQuota(ctx, ask.Name, ask.Quota)
	}))
	mux.HandleFunc("POST "+pathUntil, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, ask MemberTerms) (struct{}, error) {
		return struct{}{}, m.SetUntil(ctx, ask.Name, ask.Until)
	}))
	mux.HandleFunc("POST "+pathRemoveMember, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, ask MemberTerms) (struct{}, error) {
		return struct{}{}, m.Remove(ctx, ask.Name)
	}))
	mux.HandleFunc("GET "+pathServers, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, _ struct{}) ([]GridServer, error) {
		list, err := m.Servers(ctx)
		return GridServersOf(list), err
	}))
	mux.HandleFunc("POST "+pathServers, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, ask GridServer) (struct{}, error) {
		id, err := ask.id()
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, m.AddServer(ctx, membership.Server{ID: id, Name: ask.Name})
	}))
	mux.HandleFunc("POST "+pathRemoveServer, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, ask GridServer) (struct{}, error) {
		id, err := ask.id()
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, m.RemoveServer(ctx, id)
	}))
	mux.HandleFunc("POST "+pathUsageReader, handledBy(s.node.Manager, maxObject, func(ctx context.Context, m tarn.Manager, ask MemberTerms) (string, error) {
		return m.UsageAuthority(ctx, ask.Until)
	}))
	mux.HandleFunc("POST "+pathJoin, s.join)
	mux.HandleFunc("GET "+pathMemberships, s.memberships)
	mux.HandleFunc("POST "+pathLeave, answers(maxObject, s.leave))
}

func addMember(ctx context.Context, m tarn.Manager, ask MemberTerms) (AddedMember, error) {
	return addedOf(m.Add(ctx, ask.Name, ask.Quota, ask.Until, ask.ClaimUntil))
}

func addedOf(member membership.Member, ref tarn.MembershipRef, err error) (AddedMember, error) {
	if err != nil {
		return AddedMember{}, err
	}
	text, err := ref.Text()
	return AddedMember{memberOf(member), text}, err
}

// GridServersOf is a list of servers in its JSON form.
func GridServersOf(list []membership.Server) []GridServer {
	out := make([]GridServer, len(list))
	for i, s := range list {
		out[i] = GridServer{s.ID.String(), s.Name}
	}
	return out
}

func (g GridServer) id() (grid.ServerID, error) {
	id, err := grid.ParseServerID(g.ID)
	if err != nil {
		return id, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return id, nil
}

func (s *server) join(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMembershipRef))
	if err != nil {
		reply(w, nil, fmt.Errorf("%w: %w", ErrRequest, err))
		return
	}
	ref, err := tarn.ParseMembershipRef(string(text))
	if err != nil {
		reply(w, nil, err)
		return
	}
	m, err := s.node.Join(r.Context(), ref)
	reply(w, membershipOf(m), err)
}

func (s *server) leave(ctx context.Context, ask LeaveAsk) (Leaving, error) {
	id, err := grid.ParseServerID(ask.Manager)
	if err != nil {
		return Leaving{}, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	l, err := s.node.Leave(ctx, id, ask.Cancel)
	return Leaving{l.Cancelled, l.Left, l.LastEnd, serverErrorsOf(l.Failed)}, err
}

func (s *server) memberships(w http.ResponseWriter, r *http.Request) {
	list, err := s.node.Memberships(r.Context())
	out := make([]Membership, len(list))
	for i, m := range list {
		out[i] = membershipOf(m)
	}
	reply(w, out, err)
}

// post asks with one object.
func (c *Client) post(ctx context.Context, path string, ask, answer any) error {
	body, err := json.Marshal(ask)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return c.call(ctx, http.MethodPost, path, bytes.NewReader(body), answer)
}

// Join makes the node's client a member of the grid of a membership reference.
func (c *Client) Join(ctx context.Context, reference string) (Membership, error) {
	var m Membership
	return m, c.call(ctx, http.MethodPost, pathJoin, bytes.NewReader([]byte(reference)), &m)
}

// Leave ends a membership of the node's client.
func (c *Client) Leave(ctx context.Context, ask LeaveAsk) (Leaving, error) {
	var l Leaving
	return l, c.post(ctx, pathLeave, ask, &l)
}

// Memberships lists those of the node's client.
func (c *Client) Memberships(ctx context.Context) ([]Membership, error) {
	var list []Membership
	return list, c.call(ctx, http.MethodGet, pathMemberships, nil, &list)
}

// Manager is the account manager of the node, as the node itself has it.
func (c *Client) Manager() tarn.Manager { return remoteManager{c} }

// remoteManager is an account manager behind a socket.
type remoteManager struct{ c *Client }

func (m remoteManager) post(ctx context.Context, path string, ask, answer any) error {
	return m.c.post(ctx, path, ask, answer)
}

// Add implements tarn.Manager.
func (m remoteManager) Add(ctx context.Context, name string, quota, until *int64, claimUntil int64) (membership.Member, tarn.MembershipRef, error) {
	return m.invite(ctx, pathMembers, MemberTerms{name, quota, until, claimUntil})
}

// Reissue implements tarn.Manager.
func (m remoteManager) Reissue(ctx context.Context, name string, claimUntil int64, another bool) (membership.Member, tarn.MembershipRef, error) {
	return m.invite(ctx, pathReissue, ReissueAsk{name, claimUntil, another})
}

// invite asks for a reference.
func (m remoteManager) invite(ctx context.Context, path string, ask any) (membership.Member, tarn.MembershipRef, error) {
	var added AddedMember
	if err := m.post(ctx, path, ask, &added); err != nil {
		return membership.Member{}, tarn.MembershipRef{}, err
	}
	member, err := added.Member.member()
	if err != nil {
		return membership.Member{}, tarn.MembershipRef{}, err
	}
	ref, err := tarn.ParseMembershipRef(added.Reference)
	return member, ref, err
}

// Members implements tarn.Manager.
func (m remoteManager) Members(ctx context.Context, after string, keys bool) ([]tarn.Member, bool, error) {
	var part MembersPart
	if err := m.post(ctx, pathListMembers, MembersAsk{after, keys}, &part); err != nil {
		return nil, false, err
	}
	list, err := membersIn(part.Members)
	return list, part.More, err
}

// ParseMembers reads a list of what MemberOf made, in JSON.
func ParseMembers(b []byte) ([]tarn.Member, error) {
	var list []Member
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return membersIn(list)
}

func membersIn(list []Member) ([]tarn.Member, error) {
	out := make([]tarn.Member, len(list))
	for i, member := range list {
		var err error
		if out[i].Member, err = member.member(); err != nil {
			return nil, err
		}
		for _, k := range member.Keys {
			key, err := k.parse()
			if err != nil {
				return nil, err
			}
			out[i].Keys = append(out[i].Keys, key)
		}
		out[i].KeyCount = member.KeyCount
	}
	return out, nil
}

func (k ServerKey) parse() (lease.ServerKey, error) {
	server, err := grid.ParseServerID(k.Server)
	if err != nil {
		return lease.ServerKey{}, err
	}
	key, err := grid.ParsePublicKey(k.Key)
	return lease.ServerKey{Server: server, Key: key}, err
}

// SetQuota implements tarn.Manager.
func (m remoteManager) SetQuota(ctx context.Context, name string, quota *int64) error {
	return m.post(ctx, pathQuota, MemberTerms{Name: name, Quota: quota}, &struct{}{})
}

// SetUntil implements tarn.Manager.
func (m remoteManager) SetUntil(ctx context.Context, name string, until *int64) error {
	return m.post(ctx, pathUntil, MemberTerms{Name: name, Until: until}, &struct{}{})
}

// Remove implements tarn.Manager.
func (m remoteManager) Remove(ctx context.Context, name string) error {
	return m.post(ctx, pathRemoveMember, MemberTerms{Name: name}, &struct{}{})
}

// Servers implements tarn.Manager.
func (m remoteManager) Servers(ctx context.Context) ([]membership.Server, error) {
	var list []GridServer
	if err := m.c.call(ctx, http.MethodGet, pathServers, nil, &list); err != nil {
		return nil, err
	}
	out := make([]membership.Server, len(list))
	for i, s := range list {
		id, err := s.id()
		if err != nil {
			return nil, err
		}
		out[i] = membership.Server{ID: id, Name: s.Name}
	}
	return out, nil
}

// AddServer implements tarn.Manager.
func (m remoteManager) AddServer(ctx context.Context, s membership.Server) error {
	return m.post(ctx, pathServers, GridServer{s.ID.String(), s.Name}, &struct{}{})
}

// RemoveServer implements tarn.Manager.
func (m remoteManager) RemoveServer(ctx context.Context, id grid.ServerID) error {
	return m.post(ctx, pathRemoveServer, GridServer{ID: id.String()}, &struct{}{})
}

// UsageAuthority implements tarn.Manager.
func (m remoteManager) UsageAuthority(ctx context.Context, until *int64) (string, error) {
	var text string
	return text, m.post(ctx, pathUsageReader, MemberTerms{Until: until}, &text)
}
