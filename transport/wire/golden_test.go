package wire_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/tarn-grid/tarn/transport/wire"
)

// TestGoldenBytes pins every message in annotated hex: testdata/frames is what
// other implementations can be checked against. It is written anew by
// go test -run TestGoldenBytes -args -rewrite.
func TestGoldenBytes(t *testing.T) {
	left := map[string]wire.Frame{}
	kinds := map[wire.Kind]bool{}
	for _, s := range samples(t) {
		left[s.name], kinds[s.frame.Message.Kind()] = s.frame, true
	}
	for _, k := range wire.Kinds() {
		if !kinds[k] {
			t.Errorf("kind %d has no sample", k)
		}
	}
	datadriven.RunTest(t, "testdata/frames", func(t *testing.T, d *datadriven.TestData) string {
		var name string
		d.ScanArgs(t, "name", &name)
		f, ok := left[name]
		if !ok {
			d.Fatalf(t, "no sample, or twice: %q", name)
		}
		delete(left, name)
		b := write(t, f)
		checkGolden(t, d, f)
		return annotateFrame(b)
	})
	if len(left) > 0 {
		t.Errorf("not in testdata/frames: %v", reflect.ValueOf(left).MapKeys())
	}
}

// checkGolden reads the bytes in the file, not those just written.
func checkGolden(t *testing.T, d *datadriven.TestData, want wire.Frame) {
	if d.Rewrite {
		return
	}
	got, err := wire.ReadFrame(bytes.NewReader(unannotate(t, d.Expected)), wire.MaxBody)
	if err != nil {
		d.Fatalf(t, "golden bytes are refused: %v", err)
	}
	if !sameFrame(got, want) {
		d.Fatalf(t, "golden bytes say %+v, want %+v", got.Message, want.Message)
	}
}

func unannotate(t *testing.T, text string) []byte {
	var all []byte
	for line := range strings.Lines(text) {
		digits, _, _ := strings.Cut(line, "#")
		b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(digits), " ", ""))
		if err != nil {
			t.Fatalf("golden line %q: %v", line, err)
		}
		all = append(all, b...)
	}
	return all
}

func annotateFrame(b []byte) string {
	var out strings.Builder
	h, n := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	fmt.Fprintf(&out, "%x # head of %d bytes\n%x # body of %d bytes\n", b[:4], h, b[4:8], n)
	annotate(&out, b[8:8+h], 0)
	if n > 0 {
		fmt.Fprintf(&out, "%x # body %q\n", b[8+h:], b[8+h:])
	}
	return out.String()
}

// annotate writes one CBOR item, a line for each header, and returns the rest.
func annotate(out *strings.Builder, b []byte, depth int) []byte {
	major, n, size := cborHeader(b)
	line := func(upTo int, format string, args ...any) {
		fmt.Fprintf(out, "%s%x # %s\n", strings.Repeat("  ", depth), b[:upTo], fmt.Sprintf(format, args...))
	}
	switch major {
	case 0:
		line(size, "%d", n)
	case 1:
		line(size, "-%d", n+1)
	case 2:
		line(size+int(n), "%d bytes", n)
		return b[size+int(n):]
	case 3:
		line(size+int(n), "%q", b[size:size+int(n)])
		return b[size+int(n):]
	case 4, 5:
		items := n
		if major == 5 {
			items, _ = 2*n, line
			line(size, "map of %d", n)
		} else {
			line(size, "array of %d", n)
		}
		b = b[size:]
		for range items {
			b = annotate(out, b, depth+1)
		}
		return b
	default:
		line(size, "simple value")
	}
	return b[size:]
}

// cborHeader returns major type, argument and size of the item's header.
func cborHeader(b []byte) (major byte, arg uint64, size int) {
	major, low := b[0]>>5, b[0]&31
	if low < 24 {
		return major, uint64(low), 1
	}
	for i := range 1 << (low - 24) {
		arg = arg<<8 | uint64(b[1+i])
	}
	return major, arg, 1 + 1<<(low-24)
}

// sameFrame compares what the other side can see of two frames. Nil and empty
// lists are the same on the wire.
func sameFrame(a, b wire.Frame) bool {
	return a.ID == b.ID && a.Answer == b.Answer && bytes.Equal(joined(a), joined(b)) &&
		fmt.Sprintf("%+v", plain(a.Message)) == fmt.Sprintf("%+v", plain(b.Message))
}

func joined(f wire.Frame) []byte { return bytes.Join(f.Body, nil) }

// plain follows the one pointer in a message, so that %+v shows its value.
func plain(m wire.Message) any {
	if e, ok := m.(*wire.Error); ok {
		free := int64(-1)
		if e.Free != nil {
			free = int64(*e.Free)
		}
		return []any{e.Code, e.Text, e.Limit, free}
	}
	switch m := m.(type) { // secrets do not print themselves
	case *wire.Allocate:
		return []any{*m, [16]byte(m.Secret)}
	case *wire.OpenOffer:
		return [16]byte(m.Secret)
	case *wire.Mutate:
		shares := []any{*m, [32]byte(m.Enabler)}
		for _, s := range m.Shares {
			shares = append(shares, [16]byte(s.Staged))
		}
		return shares
	case *wire.Stage:
		return []any{*m, [16]byte(m.Secret), [32]byte(m.Enabler)}
	case *wire.Unstage:
		return [16]byte(m.Secret)
	case *wire.Enrol:
		return []any{*m, [16]byte(m.Secret)}
	}
	return m
}
