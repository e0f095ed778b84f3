package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
	"github.com/tarn-grid/tarn/transport/wire"
)

// frame puts a head that may be wrong, and a body, behind right lengths.
func frame(head []byte, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(head)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	return append(append(b, head...), body...)
}

func rawHead(t testing.TB, kind wire.Kind, id uint64, message any) []byte {
	t.Helper()
	b, err := cbor.Marshal([]any{kind, id, message})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func read(b []byte) (wire.Frame, error) {
	return wire.ReadFrame(bytes.NewReader(b), wire.MaxBody)
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	f, err := read(frame(rawHead(t, wire.KindReadOffer, 2, map[int]any{1: 5, 2: 6, 99: []any{"later"}})))
	if err != nil {
		t.Fatal(err)
	}
	if m := f.Message.(*wire.ReadOffer); m.Offset != 5 || m.Length != 6 || f.ID != 1 || f.Answer {
		t.Errorf("read %+v of %+v", m, f)
	}
}

func TestBadFramesAreRefused(t *testing.T) {
	offer := map[int]any{1: 5, 2: 6}
	secret := func(n int) map[int]any { return map[int]any{1: make([]byte, n)} }
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"no head":              {frame(nil), wire.ErrMalformed},
		"head not an array":    {frame([]byte{0xa0}), wire.ErrMalformed},
		"bytes after the head": {frame(append(rawHead(t, wire.KindReadOffer, 2, offer), 0)), wire.ErrMalformed},
		"unknown kind":         {frame(rawHead(t, 200, 2, offer)), wire.ErrMalformed},
		"answer to nothing":    {frame(rawHead(t, wire.KindReadOffer, 1, offer)), wire.ErrMalformed},
		"wrong type":           {frame(rawHead(t, wire.KindReadOffer, 2, map[int]any{1: "x"})), wire.ErrMalformed},
		"out of bounds":        {frame(rawHead(t, wire.KindReadOffer, 2, map[int]any{1: 5, 2: wire.MaxBody + 1})), wire.ErrMalformed},
		"duplicate key":        {frame([]byte{0x83, 21, 2, 0xa3, 1, 5, 2, 6, 1, 5}), wire.ErrMalformed},
		"duplicate unknown":    {frame([]byte{0x83, 21, 2, 0xa4, 1, 5, 2, 6, 9, 5, 9, 5}), wire.ErrMalformed},
		"indefinite length":    {frame([]byte{0x83, 21, 2, 0xbf, 1, 5, 2, 6, 0xff}), wire.ErrMalformed},
		"tag":                  {frame([]byte{0x83, 21, 2, 0xa2, 1, 0xc1, 5, 2, 6}), wire.ErrMalformed},
		"deep nesting":         {frame(append([]byte{0x83, 21, 2, 0xa1, 9}, bytes.Repeat([]byte{0x81}, 40)...)), wire.ErrMalformed},
		"short secret":         {frame(rawHead(t, wire.KindOpenOffer, 0, secret(15))), wire.ErrMalformed},
		"long secret":          {frame(rawHead(t, wire.KindOpenOffer, 0, secret(17))), wire.ErrMalformed},
		"secret as numbers":    {frame(rawHead(t, wire.KindOpenOffer, 0, map[int]any{1: make([]int, 16)})), wire.ErrMalformed},
		"short in a list":      {frame(rawHead(t, wire.KindRenewLease, 2, map[int]any{1: [][]byte{make([]byte, 16), make([]byte, 9)}})), wire.ErrMalformed},
		"short in a row":       {frame(rawHead(t, wire.KindFound, 3, map[int]any{1: []any{[]any{1, 1, make([]byte, 31), []int{}}}})), wire.ErrMalformed},
		"body without need":    {frame(rawHead(t, wire.KindReadOffer, 2, offer), 1), wire.ErrMalformed},
		"body too short":       {frame(rawHead(t, wire.KindData, 3, map[int]any{1: []int{2}}), 1), wire.ErrMalformed},
		"shares too short":     {frame(rawHead(t, wire.KindRenewShares, 2, map[int]any{1: 1}), make([]byte, 16)...), wire.ErrMalformed},
		"leases too long":      {frame(rawHead(t, wire.KindEnumerated, 3, map[int]any{1: 1}), make([]byte, wire.LeaseSize+1)...), wire.ErrMalformed},
		"more than the share":  {frame(rawHead(t, wire.KindAllocate, 2, map[int]any{1: make([]byte, 16), 2: 0, 3: 1, 4: make([]byte, 16)}), 1, 2), wire.ErrMalformed},
		"long head":            {[]byte{0, 1, 0, 1, 0, 0, 0, 0}, wire.ErrTooLarge},
		"long body":            {[]byte{0, 0, 0, 9, 0, 64, 0, 1}, wire.ErrTooLarge},
		"cut in lengths":       {[]byte{0, 0, 0}, io.ErrUnexpectedEOF},
		"cut in head":          {frame(rawHead(t, wire.KindReadOffer, 2, offer))[:10], io.ErrUnexpectedEOF},
		"cut before body":      {frame(rawHead(t, wire.KindData, 3, map[int]any{1: []int{2}}), 1, 2)[:14], io.ErrUnexpectedEOF},
		"nothing":              {nil, io.EOF},
	} {
		if f, err := read(c.bytes); !errors.Is(err, c.want) {
			t.Errorf("%s: got %+v, %v; want %v", name, f.Message, err, c.want)
		}
	}
}

func TestSenderRefusesWhatReceiverWould(t *testing.T) {
	si := grid.StorageIndex{1}
	long := strings.Repeat("x", 9<<10)
	tooMany := make([]wire.Range, wire.MaxRanges+1)
	for i := range tooMany {
		tooMany[i].Length = 1
	}
	for name, m := range map[string]wire.Message{
		"hello version":     &wire.Hello{},
		"hello features":    &wire.Hello{Version: 1, Features: make([]string, wire.MaxFeatures+1)},
		"hello feature":     &wire.Hello{Version: 1, Features: []string{long}},
		"login":             &wire.Login{},
		"chain":             &wire.Login{Chain: []byte(long), Request: []byte{1}},
		"resume":            &wire.Resume{Reference: []byte(long)},
		"logged in":         &wire.LoggedIn{Label: fill32(1)},
		"find":              &wire.Find{Ranges: tooMany},
		"find together":     &wire.Find{Ranges: []wire.Range{{Length: wire.MaxBody}, {Length: 1}}},
		"read nothing":      &wire.Read{StorageIndex: si},
		"read empty":        &wire.Read{Ranges: []wire.Range{{}}},
		"read far":          &wire.Read{Ranges: []wire.Range{{Offset: 1 << 63, Length: 1}}},
		"found shares":      &wire.Found{Shares: make([]wire.FoundShare, wire.MaxFoundShares+1)},
		"found ranges":      &wire.Found{Shares: []wire.FoundShare{{Lengths: make([]uint64, wire.MaxRanges+1)}}},
		"found size":        &wire.Found{Shares: []wire.FoundShare{{Size: wire.MaxShareSize + 1}}},
		"data":              &wire.Data{Lengths: make([]uint64, wire.MaxRanges+1)},
		"data overflow":     &wire.Data{Lengths: []uint64{1<<64 - 1, 1}},
		"allocate nothing":  &wire.Allocate{},
		"allocate too much": &wire.Allocate{Size: wire.MaxShareSize + 1},
		"state":             &wire.Allocated{State: 9},
		"too many others":   &wire.Allocate{Size: 1, Others: make([]wire.Other, wire.MaxOthers+1)},
		"another twice":     &wire.Allocate{Size: 1, Others: []wire.Other{{Server: fill32(1)}, {Server: fill32(1), Secret: fill16(1)}}},
		"a secret twice":    &wire.Allocate{Size: 1, Others: []wire.Other{{Server: fill32(1)}, {Server: fill32(2)}}},
		"standing, passing": &wire.Allocate{Size: 1, Standing: true, Others: make([]wire.Other, 1)},
		"stored":            &wire.Stored{Text: long},
		"share numbers":     &wire.AddLease{Nums: []grid.ShareNum{3, 3}},
		"renew nothing":     &wire.RenewLease{},
		"renew too much":    &wire.RenewLease{StorageIndexes: make([]grid.StorageIndex, wire.MaxStorageIndexes+1)},
		"renew no share":    &wire.RenewShares{},
		"renew many shares": &wire.RenewShares{Count: wire.MaxShares + 1},
		"cancel no share":   &wire.CancelShares{},
		"outcomes":          &wire.SharesDone{Count: wire.MaxShares + 1},
		"enumerate nothing": &wire.Enumerate{},
		"enumerate a lot":   &wire.Enumerate{Most: wire.MaxEnumerated + 1},
		"enumerate behind":  &wire.Enumerate{Most: 1, After: make([]byte, wire.ShareSize+1)},
		"more of nothing":   &wire.Enumerated{More: true},
		"many leases":       &wire.Enumerated{Count: wire.MaxEnumerated + 1},
		"below":             &wire.UsageBelowReport{Page: make([]byte, wire.MaxUsagePage+1)},
		"below nothing":     &wire.UsageBelowReport{},
		"a way too far":     &wire.UsageBelow{Through: make([]grid.PublicKey, lease.MaxCertificates+1)},
		"quota":             &wire.UsageReport{Quota: 1},
		"read offer":        &wire.ReadOffer{},
		"held too much":     &wire.ReadOffer{Length: 1, Have: wire.MaxShareSize + 1},
		"publish":           &wire.Publish{},
		"announce":          &wire.Announce{Announcement: []byte(long)},
		"observed name":     &wire.Observed{Address: "localhost:1"},
		"observed port":     &wire.Observed{Address: "203.0.113.7:0"},
		"observed zone":     &wire.Observed{Address: "[fe80::1%eth0]:1"},
		"observed mapped":   &wire.Observed{Address: "[::ffff:203.0.113.7]:1"},
		"punch key":         &wire.Punch{Address: "203.0.113.7:1"},
		"punch address":     &wire.Punch{Key: fill32(1), Address: "203.0.113.7"},
		"punching spelling": &wire.Punching{Address: "[2001:DB8::7]:1"},
		"no enabler":        &wire.Mutate{},
		"mutate much":       &wire.Mutate{Enabler: fill32(1), Shares: make([]wire.MutateShare, wire.MaxMutateShares+1)},
		"mutate one twice":  mutate(wire.MutateShare{}, wire.MutateShare{}),
		"many tests":        mutate(wire.MutateShare{Tests: make([]wire.Test, wire.MaxTests+1)}),
		"test nothing":      mutate(wire.MutateShare{Tests: make([]wire.Test, 1)}),
		"test for more":     mutate(wire.MutateShare{Tests: []wire.Test{{Length: 1, Wanted: 2}}}),
		"test much":         mutate(wire.MutateShare{Tests: []wire.Test{{Length: wire.MaxTest + 1}}}),
		"write nothing":     mutate(wire.MutateShare{Writes: make([]wire.Range, 1)}),
		"write far":         mutate(wire.MutateShare{Writes: []wire.Range{{Offset: wire.MaxShareSize, Length: 1}}, Staged: fill16(1)}),
		"write overflowing": mutate(wire.MutateShare{Writes: []wire.Range{{Offset: 1, Length: 1<<64 - 1}}, Staged: fill16(1)}),
		"write too much":    mutate(wire.MutateShare{Writes: []wire.Range{{Length: wire.MaxBody + 1}}}),
		"many writes":       mutate(wire.MutateShare{Writes: make([]wire.Range, wire.MaxMutateVectors+1)}),
		"cut to nothing":    mutate(wire.MutateShare{Cut: true}),
		"length, not cut":   mutate(wire.MutateShare{Length: 1}),
		"mutate, read":      &wire.Mutate{Enabler: fill32(1), Reads: tooMany},
		"mutated twice":     &wire.Mutated{Shares: make([]wire.MutableShare, 2)},
		"mutated much":      &wire.Mutated{Shares: []wire.MutableShare{{Lengths: []uint64{wire.MaxBody + 1}}}},
		"stage, enabler":    &wire.Stage{Secret: fill16(1), Size: 1},
		"stage, secret":     &wire.Stage{Enabler: fill32(1), Size: 1},
		"stage nothing":     &wire.Stage{Enabler: fill32(1), Secret: fill16(1)},
		"stage empty":       &wire.Stage{Enabler: fill32(1), Secret: fill16(1), Size: 1},
		"error code":        &wire.Error{},
		"error limit":       &wire.Error{Code: 1, Limit: long},
		"error text":        &wire.Error{Code: 1, Text: "a\nb"},
		"error escape":      &wire.Error{Code: 1, Text: "\x1b[2J"},
		"error not text":    &wire.Error{Code: 1, Text: "\xff"},
	} {
		var b bytes.Buffer
		if err := wire.WriteFrame(&b, wire.Frame{ID: 1, Message: m}); !errors.Is(err, wire.ErrMalformed) || b.Len() > 0 {
			t.Errorf("%s: %d bytes written, error %v", name, b.Len(), err)
		}
	}
	for name, f := range map[string]wire.Frame{
		"no message":     {},
		"answer to none": {Answer: true, Message: &wire.Done{}},
		"large id":       {ID: wire.MaxID + 1, Message: &wire.Done{}},
		"stray body":     wire.Frame{Message: &wire.Done{}}.WithBody(nil, []byte{1}),
	} {
		if err := wire.WriteFrame(io.Discard, f); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	big := wire.Frame{ID: 1, Message: &wire.Allocate{Size: 1 << 40}}.WithBody(nil, make([]byte, wire.MaxBody), []byte{1})
	if err := wire.WriteFrame(io.Discard, big); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("oversized body: error %v", err)
	}
}

func mutate(shares ...wire.MutateShare) *wire.Mutate {
	return &wire.Mutate{Enabler: fill32(1), Shares: shares}
}

func TestNewErrorValidates(t *testing.T) {
	for _, text := range []string{"", "a\nb\x1b", "\xff\xfe", strings.Repeat("ü", wire.MaxText)} {
		if err := wire.NewError(wire.Internal, text).Validate(); err != nil {
			t.Errorf("%.10q: %v", text, err)
		}
	}
}

func TestLargestMessagesFit(t *testing.T) {
	found := &wire.Found{Shares: make([]wire.FoundShare, wire.MaxFoundShares), Room: wire.MaxShareSize}
	for i := range found.Shares {
		found.Shares[i] = wire.FoundShare{Num: 255, Size: wire.MaxShareSize, Lengths: []uint64{1024, 1024, 1024, 1024, 1024, 1024, 1024, 1024}}
	}
	body := make([]byte, wire.MaxFoundLengths*1024)
	mutate := &wire.Mutate{Enabler: fill32(1), Reads: []wire.Range{{Offset: wire.MaxShareSize, Length: wire.MaxRead}}}
	for i := range wire.MaxMutateShares {
		mutate.Shares = append(mutate.Shares, wire.MutateShare{Num: grid.ShareNum(i), Cut: true, Length: wire.MaxShareSize, Staged: fill16(1),
			Tests:  []wire.Test{{Offset: wire.MaxShareSize, Length: wire.MaxTest}, {Offset: wire.MaxShareSize, Length: wire.MaxTest}},
			Writes: []wire.Range{{Offset: 1, Length: wire.MaxShareSize - 1}, {Offset: 1, Length: wire.MaxShareSize - 1}}})
	}
	below := &wire.UsageBelowReport{Page: fullPage(t)}
	for _, f := range []wire.Frame{
		wire.Frame{ID: wire.MaxID, Answer: true, Message: found}.WithBody(nil, body),
		{ID: wire.MaxID, Message: &wire.RenewLease{StorageIndexes: make([]grid.StorageIndex, wire.MaxStorageIndexes)}},
		{ID: wire.MaxID, Message: below},
		{ID: wire.MaxID, Message: mutate},
		wire.Frame{ID: wire.MaxID, Message: &wire.RenewShares{Count: wire.MaxShares}}.WithBody(nil, make([]byte, wire.MaxShares*wire.ShareSize)),
		wire.Frame{ID: wire.MaxID, Message: &wire.Enumerated{Count: wire.MaxEnumerated}}.WithBody(nil, make([]byte, wire.MaxEnumerated*wire.LeaseSize)),
		{ID: wire.MaxID, Message: &wire.Login{Chain: make([]byte, wire.MaxChain), Request: make([]byte, wire.MaxLoginRequest)}},
		{ID: wire.MaxID, Message: &wire.Publish{Announcement: make([]byte, wire.MaxAnnouncement)}},
	} {
		got, err := read(write(t, f))
		if err != nil {
			t.Fatalf("%T: %v", f.Message, err)
		}
		if !sameFrame(got, f) {
			t.Errorf("%T came back different", f.Message)
		}
		got.Release()
	}
}

// TestRoundTrip draws frames, writes several in a row, and reads them back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		frames := rapid.SliceOfN(rapid.Custom(drawFrame), 1, 5).Draw(t, "frames")
		var b bytes.Buffer
		for _, f := range frames {
			if err := wire.WriteFrame(&b, f); err != nil {
				t.Fatalf("write %+v: %v", f.Message, err)
			}
		}
		for _, want := range frames {
			got, err := wire.ReadFrame(&b, wire.MaxBody)
			if err != nil || !sameFrame(got, want) {
				t.Fatalf("read %+v, %v; want %+v", got.Message, err, want.Message)
			}
			got.Release()
		}
		if _, err := wire.ReadFrame(&b, wire.MaxBody); err != io.EOF { //nolint:errorlint // exactly that one
			t.Fatalf("at the end: %v", err)
		}
	})
}

func drawFrame(t *rapid.T) wire.Frame {
	f := wire.Frame{ID: rapid.Uint64Range(1, wire.MaxID).Draw(t, "id"), Answer: rapid.Bool().Draw(t, "answer")}
	body := rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "body")
	if rapid.IntRange(0, 9).Draw(t, "large") == 0 {
		body = bytes.Repeat(append(body, 1), 1000)
	}
	cut := rapid.IntRange(0, len(body)).Draw(t, "cut")
	si := grid.StorageIndex(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "storage index"))
	size := rapid.Uint64Range(uint64(len(body))+1, wire.MaxShareSize).Draw(t, "size")
	ranges := []wire.Range{{Offset: size, Length: uint64(cut) + 1}}
	lengths := []uint64{uint64(cut), uint64(len(body) - cut)}
	text := rapid.StringMatching(`[a-zäöü ]{0,100}`).Draw(t, "text")
	num := grid.ShareNum(rapid.Byte().Draw(t, "number"))
	bodied := map[int]wire.Message{
		0: &wire.Data{Lengths: lengths},
		1: &wire.Found{Shares: []wire.FoundShare{{Num: num, Size: size, Lengths: lengths[:1]}, {Lengths: lengths[1:]}}, Room: size},
		2: &wire.Allocate{StorageIndex: si, Num: num, Size: size},
	}
	bare := map[int]wire.Message{
		3: &wire.Find{StorageIndex: si, Ranges: ranges},
		4: &wire.Read{StorageIndex: si, Num: num, Ranges: ranges},
		5: &wire.Stored{StorageIndex: si, Num: num, Code: wire.Code(num), Text: text},
		6: &wire.Error{Code: wire.Busy, Text: text, Free: &size},
		7: &wire.UsageReport{Bytes: size, Quota: size, HasQuota: true},
		8: &wire.LoggedIn{Reference: []byte{1}, Expires: -int64(size), Operations: uint(num)},
	}
	pick := rapid.IntRange(0, 8).Draw(t, "kind")
	if m, ok := bodied[pick]; ok {
		f.Message = m
		return f.WithBody(nil, body[:cut], body[cut:])
	}
	f.Message = bare[pick]
	return f
}

func TestBuffersAreReused(t *testing.T) {
	for _, n := range []int{0, 1, 4096, 4097, wire.MaxBody, wire.MaxBody + 1} {
		b, release := wire.Buffer(n)
		if len(b) != n || cap(b) != n {
			t.Errorf("Buffer(%d) has length %d, capacity %d", n, len(b), cap(b))
		}
		release()
	}
}

func FuzzFrame(f *testing.F) {
	seeds := samples(f)
	if len(seeds) < len(wire.Kinds()) {
		f.Fatalf("%d seeds for %d kinds", len(seeds), len(wire.Kinds()))
	}
	for _, s := range seeds {
		f.Add(write(f, s.frame))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := read(b)
		if err != nil {
			return
		}
		again, err := read(write(t, got))
		if err != nil || !sameFrame(got, again) {
			t.Errorf("%+v became %+v (%v)", got.Message, again.Message, err)
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	body := make([]byte, 256<<10)
	f := wire.Frame{ID: 1, Answer: true, Message: &wire.Data{Lengths: []uint64{256 << 10}}}.WithBody(nil, body)
	var buf bytes.Buffer
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		buf.Reset()
		if err := wire.WriteFrame(&buf, f); err != nil {
			b.Fatal(err)
		}
		got, err := wire.ReadFrame(&buf, wire.MaxBody)
		if err != nil {
			b.Fatal(err)
		}
		got.Release()
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	m := &wire.OpenOffer{Secret: fill16(0x5e)}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(format, m); strings.Contains(got, "94") || strings.Contains(strings.ToLower(got), "5e") {
			t.Errorf("%s prints %s", format, got)
		}
	}
}
