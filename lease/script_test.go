package lease

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tarn-grid/tarn/grid"
)

// A script draws a login as text, one line for each thing:
//
//	root alice [disabled] [ops=upload] [until=-1h]   the server accepts her
//	revoke bob                                       the operator refuses him
//	alice -> bob [lease] [until=+1h] [op=upload,mutate] [max-size=9] [space=9]
//	         [root=alice] [server=S] [si=x] [ueb=y] [raw=MUTATION]
//	bob asks S for P [lease] [...]                   the request
//	at T; from Q; now +2h                            the server, the peer, the time
//	swap 1 2; repeat 1; drop 1; flip 2; widen 2 op=upload; name 2; unname 1;
//	version 1 2; flip request; version request 2     done to what was signed
//
// Nothing of it is checked by the code that signs, so that bad ones can be drawn.
type script struct {
	in      VerifyInput
	roots   map[grid.PublicKey]Root
	revoked map[grid.PublicKey]bool
	links   []scriptLink
	request scriptLink
}

// scriptLink is an envelope whose version can be wrong.
type scriptLink struct {
	envelope
	version uint64
	cert    Certificate
}

func (l scriptLink) encode() []byte {
	b := l.envelope.encode()
	b[1] = byte(l.version) // right after the array's header
	return b
}

func parseScript(t *testing.T, text string) *script {
	t.Helper()
	s := &script{roots: map[grid.PublicKey]Root{}, revoked: map[grid.PublicKey]bool{}}
	s.in = VerifyInput{Server: serverNamed("S"), Peer: pub("P"), Now: noon, Standing: Standing{
		Roots:   func(k grid.PublicKey) (Root, bool) { r, ok := s.roots[k]; return r, ok },
		Revoked: func(k grid.PublicKey) bool { return s.revoked[k] },
	}}
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			if err := s.line(words); err != nil {
				t.Fatalf("script line %q: %v", line, err)
			}
		}
	}
	return s
}

func (s *script) line(w []string) error {
	switch {
	case len(w) >= 3 && w[1] == "->":
		return s.signs(w[0], w[2], w[3:])
	case len(w) >= 5 && w[1] == "asks" && w[3] == "for":
		return s.asks(w[0], w[2], w[4], w[5:])
	case w[0] == "root":
		return s.addRoot(w[1], w[2:])
	case w[0] == "revoke":
		s.revoked[pub(w[1])] = true
	case w[0] == "at":
		s.in.Server = serverNamed(w[1])
	case w[0] == "from":
		s.in.Peer = pub(w[1])
	case w[0] == "now":
		d, err := time.ParseDuration(w[1])
		s.in.Now = noon.Add(d)
		return err
	default:
		return s.damage(w)
	}
	return nil
}

func (s *script) addRoot(name string, options []string) error {
	r := Root{Key: pub(name), Petname: name}
	var fields []string
	for _, o := range options {
		if o == "disabled" {
			r.Disabled = true
			continue
		}
		fields = append(fields, o)
	}
	limits, _, _, err := parseFields(fields)
	r.Operation, r.Until = limits.Operation, limits.Until
	s.roots[r.Key] = r
	return err
}

func (s *script) signs(signer, delegate string, fields []string) error {
	limits, lease, raw, err := parseFields(fields)
	if err != nil {
		return err
	}
	cert := Certificate{Delegate: pub(delegate), SignerGetsLease: lease, Restrictions: limits}
	body, err := mutateBody(encode(cert), raw)
	s.links = append(s.links, scriptLink{seal(keyOf(signer), certificateTag, body, len(s.links) == 0), CertificateVersion, cert})
	return err
}

func (s *script) asks(signer, server, beneficiary string, fields []string) error {
	limits, lease, raw, err := parseFields(fields)
	if err != nil {
		return err
	}
	if server != "-" {
		limits.Server = new(serverNamed(server))
	}
	r := Request{Beneficiary: pub(beneficiary), Nonce: Nonce{1, 2, 3}, SignerGetsLease: lease, Restrictions: limits}
	body, err := mutateBody(encode(r), raw)
	s.request = scriptLink{seal(keyOf(signer), requestTag, body, len(s.links) == 0), CertificateVersion, Certificate{}}
	return err
}

func parseFields(fields []string) (r Restrictions, lease bool, raw string, err error) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		switch name {
		case "lease":
			lease = true
		case "raw":
			raw = value
		default:
			err = parseField(&r, name, value)
		}
		if err != nil {
			return
		}
	}
	return
}

func parseField(r *Restrictions, name, value string) (err error) {
	switch name {
	case "root":
		r.Root = new(pub(value))
	case "server":
		r.Server = new(serverNamed(value))
	case "si":
		r.StorageIndex = new(grid.StorageIndex)
		copy(r.StorageIndex[:], value)
	case "ueb":
		r.UEBHash = new(UEBHash)
		copy(r.UEBHash[:], value)
	case "op":
		r.Operation = new(Operation)
		*r.Operation, err = ParseOperation(value)
	case "bits":
		var bits uint64
		bits, err = strconv.ParseUint(value, 0, 16)
		r.Operation = new(Operation(bits))
	case "until":
		var d time.Duration
		d, err = time.ParseDuration(value)
		r.Until = new(noon.Add(d).Unix())
	case "max-size":
		r.MaxSize = new(int64)
		*r.MaxSize, err = strconv.ParseInt(value, 10, 64)
	case "space":
		r.Space = new(int64)
		*r.Space, err = strconv.ParseInt(value, 10, 64)
	default:
		err = fmt.Errorf("unknown field %q", name)
	}
	return err
}

// damage changes what was signed.
func (s *script) damage(w []string) error {
	if w[0] == "swap" {
		i, j := s.index(w[1]), s.index(w[2])
		s.links[i].envelope, s.links[j].envelope = s.links[j].envelope, s.links[i].envelope
		s.links[i].signer, s.links[j].signer = s.links[j].signer, s.links[i].signer
		return nil
	}
	l := &s.request
	if w[1] != "request" {
		l = &s.links[s.index(w[1])]
	}
	switch w[0] {
	case "flip":
		l.signature[9] ^= 1
	case "name":
		l.signer = new(pub(w[2]))
	case "unname":
		l.signer = nil
	case "version":
		l.version = uint64(w[2][0] - '0')
	case "shorten":
		l.signature = l.signature[:63]
	case "widen":
		limits, lease, _, err := parseFields(w[2:])
		l.body = encode(Certificate{Delegate: l.cert.Delegate, SignerGetsLease: lease, Restrictions: limits})
		return err
	default:
		return s.rearrange(w)
	}
	return nil
}

func (s *script) rearrange(w []string) error {
	i := s.index(w[1])
	switch w[0] {
	case "repeat":
		again := s.links[i]
		again.signer = nil
		s.links = append(s.links[:i+1], append([]scriptLink{again}, s.links[i+1:]...)...)
	case "drop":
		s.links = append(s.links[:i], s.links[i+1:]...)
	default:
		return fmt.Errorf("unknown verb %q", w[0])
	}
	return nil
}

func (s *script) index(word string) int { return int(word[0] - '1') }

// chain is the encoding of the links, put together by hand.
func (s *script) chain() []byte {
	b := []byte{0x80 | byte(len(s.links))}
	for _, l := range s.links {
		b = append(b, l.encode()...)
	}
	return b
}
