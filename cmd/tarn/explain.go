package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// explained is what `tarn authority dump --json` prints.
type explained struct {
	Items []item `json:"items"`
}

// item is one thing in a text. What it does not have is left out.
type item struct {
	Kind string `json:"kind"`
	// Secret says that the text is one; Chain and keys never are.
	Secret bool   `json:"secret"`
	Key    *named `json:"key,omitempty"`
	// KeyPerServer says that there is a different key at every server.
	KeyPerServer bool        `json:"key_per_server,omitempty"`
	Server       *named      `json:"server,omitempty"`
	Addresses    []string    `json:"addresses,omitempty"`
	Keys         []serverKey `json:"keys,omitempty"`
	Chain        *chain      `json:"chain,omitempty"`
	Request      *request    `json:"request,omitempty"`
	Reference    *reference  `json:"reference,omitempty"`
}

// named is a key or a server with the name that this node has for it.
type named struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

type serverKey struct {
	Server *named `json:"server"`
	Key    *named `json:"key"`
}

type chain struct {
	Certificates []certificate `json:"certificates"`
	// InAll is what remains when all limits hold; Useless says why nothing does.
	InAll   *limits `json:"in_all,omitempty"`
	Useless string  `json:"useless,omitempty"`
}

type certificate struct {
	Signer          *named `json:"signer"`
	Delegate        *named `json:"delegate"`
	SignatureHolds  bool   `json:"signature_holds"`
	SignerGetsLease bool   `json:"signer_gets_lease"`
	Limits          limits `json:"limits"`
}

type limits struct {
	Operation    string     `json:"operation"`
	Until        *time.Time `json:"until,omitempty"`
	Server       *named     `json:"server,omitempty"`
	StorageIndex string     `json:"storage_index,omitempty"`
	UEBHash      string     `json:"ueb_hash,omitempty"`
	MaxSize      *int64     `json:"max_size,omitempty"`
	Space        *int64     `json:"space,omitempty"`
	Root         *named     `json:"root,omitempty"`
}

type request struct {
	Signer          *named `json:"signer,omitempty"`
	Beneficiary     string `json:"beneficiary"`
	SignerGetsLease bool   `json:"signer_gets_lease"`
	Limits          limits `json:"limits"`
}

type reference struct {
	Keys    []*named  `json:"keys"`
	Label   *named    `json:"label"`
	Expires time.Time `json:"expires"`
	Limits  limits    `json:"limits"`
}

func (x explainer) key(k grid.PublicKey) *named { return &named{k.String(), x.names.keys[k]} }

func (x explainer) server(s *grid.ServerID) *named {
	if s == nil {
		return nil
	}
	return &named{s.String(), x.names.servers[*s]}
}

// chain says what each certificate does. A signature that does not hold is
// told for that certificate alone.
func (x explainer) chain(c lease.Chain) *chain {
	keys, holds := c.Keys(), c.Holds()
	out := &chain{}
	for i, cert := range c.Certificates() {
		out.Certificates = append(out.Certificates, certificate{
			Signer: x.key(keys[i]), Delegate: x.key(cert.Delegate), SignatureHolds: holds[i],
			SignerGetsLease: cert.SignerGetsLease, Limits: x.limits(cert.Restrictions),
		})
	}
	all, err := c.Effective()
	if err == nil {
		err = c.Check()
	}
	if err != nil {
		out.Useless = err.Error()
		return out
	}
	all.Space = nil // each pair has its own
	out.InAll = new(x.limits(all))
	return out
}

func (x explainer) limits(r lease.Restrictions) limits {
	l := limits{Operation: r.Operations().String(), Server: x.server(r.Server), MaxSize: r.MaxSize, Space: r.Space}
	if r.Until != nil {
		l.Until = new(time.Unix(*r.Until, 0).UTC())
	}
	if r.StorageIndex != nil {
		l.StorageIndex = r.StorageIndex.String()
	}
	if r.UEBHash != nil {
		l.UEBHash = grid.EncodeBase32(r.UEBHash[:])
	}
	if r.Root != nil {
		l.Root = x.key(*r.Root)
	}
	return l
}

func (x explainer) request(r lease.Request, signer *grid.PublicKey) item {
	q := &request{Beneficiary: r.Beneficiary.String(), SignerGetsLease: r.SignerGetsLease, Limits: x.limits(r.Restrictions)}
	if signer != nil {
		q.Signer = x.key(*signer)
	}
	return item{Kind: "request to log in", Request: q}
}

func (x explainer) reference(r lease.Reference) item {
	f := &reference{Label: x.key(r.Grant.Label), Expires: time.Unix(r.Expires, 0).UTC(), Limits: x.limits(r.Grant.Effective)}
	for _, k := range r.Grant.Keys {
		f.Keys = append(f.Keys, x.key(k))
	}
	return item{Kind: "reference", Secret: true, Reference: f}
}

// words is the explanation for people.
func (e explained) words(now time.Time) string {
	var w writer
	w.now = now
	for i, it := range e.Items {
		if i > 0 {
			w.line(0, "")
		}
		w.item(it)
	}
	return w.String()
}

// writer is words, indented by how deep they belong.
type writer struct {
	strings.Builder
	now time.Time
}

func (w *writer) line(depth int, format string, args ...any) {
	text := strings.Repeat("  ", depth) + fmt.Sprintf(format, args...)
	w.WriteString(strings.TrimRight(text, " ") + "\n")
}

// kinds says what an item is good for.
var itemKinds = map[string]string{
	"authority":         "Authority: the key is in it, so whoever has the text can use it.",
	"certificates":      "Certificates, without a secret: of use only to who has the key at the end.",
	"keys to be signed": "Keys of an account, to be signed. The account signed the list, and no server knows the key it did so with.",
	"account":           "Account: a secret from which all of a person's keys come.",
	"public key":        "Public key.",
	"server":            "Id of a server.",
	"introducer":        "Introducer, through which nodes find servers.",
	"request to log in": "Request to log in, good for one connection to one server.",
	"reference":         "Reference from a server: whoever has it is logged in there until it ends.",
}

func (w *writer) item(i item) {
	title, ok := itemKinds[i.Kind]
	if !ok {
		title = strings.ToUpper(i.Kind[:1]) + i.Kind[1:] + "."
	}
	w.line(0, "%s", title)
	switch {
	case i.KeyPerServer:
		w.line(1, "key        a different one at every server")
	case i.Key != nil:
		w.line(1, "key        %s", i.Key)
	}
	if i.Server != nil {
		w.line(1, "server     %s", i.Server)
	}
	for _, a := range i.Addresses {
		w.line(1, "address    %s", a)
	}
	for _, k := range i.Keys {
		w.line(1, "at %s  %s", k.Server, k.Key)
	}
	w.chain(i.Chain)
	w.request(i.Request)
	w.reference(i.Reference)
}

func (n *named) String() string {
	if n.Name == "" {
		return n.ID
	}
	return n.ID + " (" + n.Name + ")"
}

func (w *writer) chain(c *chain) {
	if c == nil {
		return
	}
	for i, cert := range c.Certificates {
		w.line(1, "%d. %s", i+1, cert.Signer)
		w.line(1, "   lets %s", cert.Delegate)
		if !cert.SignatureHolds {
			w.line(2, "signature  DOES NOT HOLD: no server will accept it")
		} else {
			w.line(2, "signature  holds")
		}
		if cert.SignerGetsLease {
			w.line(2, "leases     are the signer's, who pays")
		}
		w.limits(2, cert.Limits)
	}
	switch {
	case c.Useless != "":
		w.line(1, "Of no use: %s.", c.Useless)
	case len(c.Certificates) > 1:
		w.line(1, "In all")
		w.limits(2, *c.InAll)
	}
}

func (w *writer) limits(depth int, l limits) {
	w.line(depth, "may        %s", strings.ReplaceAll(l.Operation, ",", ", "))
	if l.Until != nil {
		w.line(depth, "until      %s, %s", clock(*l.Until), left(*l.Until, w.now))
	}
	if l.Server != nil {
		w.line(depth, "server     only %s", l.Server)
	}
	if l.StorageIndex != "" {
		w.line(depth, "file       only the one with storage index %s", l.StorageIndex)
	}
	if l.UEBHash != "" {
		w.line(depth, "content    only the one with UEB hash %s", l.UEBHash)
	}
	if l.MaxSize != nil {
		w.line(depth, "max-size   %s for a share", formatSize(*l.MaxSize))
	}
	if l.Space != nil {
		w.line(depth, "space      %s on each server", formatSize(*l.Space))
	}
	if l.Root != nil {
		w.line(depth, "root       only under %s", l.Root)
	}
}

func (w *writer) request(r *request) {
	if r == nil {
		return
	}
	if r.Signer != nil {
		w.line(1, "signer     %s", r.Signer)
	} else {
		w.line(1, "signer     whoever the certificates before it end at")
	}
	w.line(1, "connection of the host %s", r.Beneficiary)
	if r.SignerGetsLease {
		w.line(1, "leases     are the signer's")
	}
	w.limits(1, r.Limits)
}

func (w *writer) reference(r *reference) {
	if r == nil {
		return
	}
	for i, k := range r.Keys {
		if i == 0 {
			w.line(1, "root       %s", k)
			continue
		}
		w.line(1, "then       %s", k)
	}
	w.line(1, "leases     are those of %s", r.Label)
	w.line(1, "ends       %s, %s", clock(r.Expires), left(r.Expires, w.now))
	w.limits(1, r.Limits)
}
