package privacy

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"reflect"
	"strings"
	"sync"

	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// notes are what an observer wrote down of one connection. Moments are not
// among them: on a machine that is busy, those of all connections are alike;
// integration/sim measures them.
type notes struct {
	mu     sync.Mutex
	flow   map[string][]byte // what came from and went to the client, in cipher and in clear
	fields Sighting
	kinds  map[string]int // how many frames there were of each
	order  []string       // of frames
}

func newNotes(c net.Conn) *notes {
	n := &notes{flow: map[string][]byte{}, fields: NewSighting(), kinds: map[string]int{}}
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		n.fields.Values["port"] = fmt.Sprint(a.Port)
	}
	return n
}

// do is for a connection that is observed; nil is none.
func (n *notes) do(what func()) {
	if n != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		what()
	}
}

func (n *notes) bytes(flow string, b []byte) {
	n.do(func() { n.flow[flow] = append(n.flow[flow], b...) })
}

// failed notes how a connection ended, without what no client decides.
func (n *notes) failed(err error) {
	n.do(func() { n.fields.Values["end"] = fmt.Sprintf("%T", err) })
}

func (n *notes) certificate(c *x509.Certificate) {
	n.do(func() {
		var extensions []string
		for _, e := range c.Extensions {
			extensions = append(extensions, e.Id.String())
		}
		for field, v := range map[string]any{
			"serial": c.SerialNumber, "subject": c.Subject, "issuer": c.Issuer, "not-before": c.NotBefore.Unix(), "not-after": c.NotAfter.Unix(),
			"key": c.PublicKeyAlgorithm, "signature": c.SignatureAlgorithm, "extensions": extensions, "version": c.Version,
		} {
			n.fields.Values["certificate."+field] = fmt.Sprint(v)
		}
	})
}

// frame notes a frame, field by field. What the server says back counts, too:
// it may depend on what the client did elsewhere.
func (n *notes) frame(way string, f wire.Frame) {
	n.do(func() {
		kind := way + "." + reflect.TypeOf(f.Message).Elem().Name()
		n.order = append(n.order, kind)
		name := fmt.Sprintf("%s[%d]", kind, n.kinds[kind])
		n.kinds[kind]++
		n.fields.number(name+".id", float64(f.ID))
		n.fields.number(name+".body.length", float64(f.BodySize()))
		n.fields.flatten(name, reflect.ValueOf(f.Message))
		if m, ok := f.Message.(*wire.Login); ok {
			n.fields.login(name, m)
		}
	})
}

// login looks into what a Login carries.
func (s Sighting) login(name string, m *wire.Login) {
	if chain, err := lease.DecodeChain(m.Chain); err == nil {
		s.flatten(name+".chain", reflect.ValueOf(chain.Certificates()))
		s.flatten(name+".chain.keys", reflect.ValueOf(chain.Keys()))
		if chain.Len() == 0 {
			s.number(name+".chain[0].until.second", 0) // as if it ended at a midnight
			for _, field := range []string{".chain", ".chain.keys[1]", ".chain[0].delegate", ".chain[0].server"} {
				s.Values[name+field] = "none: " + hex.EncodeToString(m.Request) // its length tells that there is none
			}
		}
	}
	if request, _, err := lease.ReadRequest(m.Request); err == nil {
		s.flatten(name+".request", reflect.ValueOf(request))
	}
}

// number is compared as a value, too.
func (s Sighting) number(name string, v float64) {
	s.Values[name] = fmt.Sprint(v)
	s.Numbers[name] = v
}

// flatten notes all that is in a message.
func (s Sighting) flatten(name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			s.flatten(name, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Anonymous {
				s.flatten(name, v.Field(i))
			} else if f.IsExported() {
				s.flatten(name+"."+strings.ToLower(f.Name), v.Field(i))
				s.endOf(name+"."+strings.ToLower(f.Name), v.Field(i))
			}
		}
	case reflect.Slice, reflect.Array:
		s.flattenList(name, v)
	case reflect.Int, reflect.Int64:
		s.number(name, float64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint64:
		s.number(name, float64(v.Uint()))
	default:
		s.Values[name] = fmt.Sprint(v.Interface())
	}
}

// endOf notes the day of an end apart from the second of that day, which tells
// one person from another where it is not the same for all.
func (s Sighting) endOf(name string, v reflect.Value) {
	if until, ok := v.Interface().(*int64); ok && until != nil && strings.HasSuffix(name, ".until") {
		const day = 24 * 60 * 60
		s.number(name+".day", float64(*until/day))
		s.number(name+".second", float64(*until%day))
		delete(s.Values, name)
		delete(s.Numbers, name)
	}
}

func (s Sighting) flattenList(name string, v reflect.Value) {
	if v.Kind() == reflect.Slice {
		s.number(name+".length", float64(v.Len()))
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		b := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(b), v)
		s.Values[name] = hex.EncodeToString(b)
		return
	}
	for i := range v.Len() {
		s.flatten(fmt.Sprintf("%s[%d]", name, i), v.Index(i))
	}
}

// add puts what was noted of a connection into a sighting.
func (n *notes) add(to Sighting, connection string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fields.Values["frames"] = strings.Join(n.order, " ")
	n.fields.cipher(n.flow["cipher from"])
	n.fields.clear(n.flow["clear from"])
	for name, v := range n.fields.Values {
		to.Values[connection+"."+name] = v
	}
	for name, v := range n.fields.Numbers {
		to.Numbers[connection+"."+name] = v
	}
}

// cipher reads what comes before TLS, the hello, and how long the records are; or
// before Noise, which says nothing in clear but lengths.
func (s Sighting) cipher(b []byte) {
	const noise = "/noise\n"
	at := strings.Index(string(b), "\x16\x03\x01")
	if at < 0 {
		before, sealed, _ := strings.Cut(string(b), noise)
		s.Values["preamble"] = hex.EncodeToString([]byte(before + noise))
		s.sealed([]byte(sealed))
		return
	}
	s.Values["preamble"] = hex.EncodeToString(b[:at])
	var records []string
	for rest := b[at:]; len(rest) >= 5; {
		length := int(binary.BigEndian.Uint16(rest[3:]))
		if len(rest) < 5+length {
			break
		}
		if len(records) == 0 {
			s.hello(rest[5 : 5+length])
		}
		records = append(records, fmt.Sprintf("%d:%d", rest[0], length))
		rest = rest[5+length:]
	}
	s.Values["records"] = strings.Join(records[:min(len(records), 8)], " ")
}

// sealed notes how long the messages of Noise are, and the first of them.
func (s Sighting) sealed(b []byte) {
	var lengths []string
	for r := (reader{b}); len(r.b) >= 2 && len(lengths) < 8; {
		message := r.vector(2)
		s.Values[fmt.Sprintf("noise[%d]", len(lengths))] = hex.EncodeToString(message)
		lengths = append(lengths, fmt.Sprint(len(message)))
	}
	s.Values["records"] = strings.Join(lengths, " ")
}

// extensions are the names of those whose content matters most.
var extensions = map[uint16]string{
	0: "server-name", 5: "status", 10: "groups", 11: "points", 13: "signatures", 16: "alpn", 18: "timestamps", 23: "master-secret",
	41: "resumption", 43: "versions", 45: "exchange-modes", 50: "certificate-signatures", 51: "key-share", 65281: "renegotiation",
}

// hello takes a ClientHello apart (RFC 8446, section 4.1.2).
func (s Sighting) hello(b []byte) {
	r := reader{b}
	r.take(4) // type and length
	s.Values["hello.version"] = hex.EncodeToString(r.take(2))
	s.Values["hello.random"] = hex.EncodeToString(r.take(32))
	s.Values["hello.session"] = hex.EncodeToString(r.vector(1))
	s.Values["hello.suites"] = hex.EncodeToString(r.vector(2))
	s.Values["hello.compression"] = hex.EncodeToString(r.vector(1))
	var order []string
	for all := (reader{r.vector(2)}); len(all.b) > 0; {
		kind := binary.BigEndian.Uint16(all.take(2))
		name := extensions[kind]
		if name == "" {
			name = fmt.Sprintf("extension-%d", kind)
		}
		order = append(order, name)
		s.Values["hello."+name] = hex.EncodeToString(all.vector(2))
	}
	s.Values["hello.order"] = strings.Join(order, " ")
}

// reader takes bytes from the front; what is not there is zero.
type reader struct{ b []byte }

func (r *reader) take(n int) []byte {
	out := make([]byte, n)
	r.b = r.b[copy(out, r.b):]
	return out
}

// vector is what is behind its length.
func (r *reader) vector(size int) []byte {
	n := 0
	for _, b := range r.take(size) {
		n = n<<8 | int(b)
	}
	return r.take(n)
}

// clear reads the frames of yamux.
func (s Sighting) clear(b []byte) {
	streams := map[uint32][]byte{}
	var ids, windows, pings []string
	for len(b) >= 12 {
		kind, flags, id, length := b[1], binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		b = b[12:]
		if flags&1 != 0 && kind != 2 {
			ids = append(ids, fmt.Sprint(id))
		}
		switch kind {
		case 0:
			n := min(int(length), len(b))
			streams[id] = append(streams[id], b[:n]...)
			b = b[n:]
		case 1:
			windows = append(windows, fmt.Sprintf("%d+%d", id, length))
		case 2:
			if flags&1 != 0 { // it asks; when it answers is up to the machine
				pings = append(pings, fmt.Sprint(length))
			}
		default:
			s.number("mux.farewell", float64(length))
		}
	}
	s.Values["mux.streams"] = strings.Join(ids, " ")
	s.Values["mux.windows"] = strings.Join(windows, " ")
	s.Values["mux.first-ping"] = strings.Join(pings[:min(1, len(pings))], "")
	for i, id := range ids {
		var n uint32
		fmt.Sscan(id, &n)
		s.stream(fmt.Sprintf("mux.stream[%d]", i), streams[n])
	}
}

// stream reads which protocol it names, and all of it if that is none of
// Tarn's.
func (s Sighting) stream(name string, b []byte) {
	for i := 0; i < 2 && len(b) > 0; i++ {
		n := min(int(b[0]), len(b)-1)
		s.Values[fmt.Sprintf("%s.line[%d]", name, i)] = strings.TrimSpace(string(b[1 : 1+n]))
		b = b[1+n:]
	}
	if !strings.HasPrefix(s.Values[name+".line[1]"], "/tarn/") {
		s.Values[name+".content"] = string(b)
	}
}
