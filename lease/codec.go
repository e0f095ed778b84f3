package lease

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"io"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"github.com/tarn-grid/tarn/grid"
)

// encMode writes RFC 8949 core deterministic CBOR; decMode reads nothing that
// could have a second spelling or run deep. What remains (fields of wrong
// length, explicit defaults, order) is caught by decodeCanonical.
var (
	encMode = must(encOptions().EncMode())
	decMode = must(decOptions(16).DecMode())
)

// encOptions writes nil slices as empty ones, so that null has no place.
func encOptions() cbor.EncOptions {
	options := cbor.CoreDetEncOptions()
	options.NilContainers = cbor.NilContainerAsEmpty
	return options
}

func decOptions(maxArray int) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   4,
		MaxArrayElements:  maxArray,
		MaxMapPairs:       16,
	}
}

// must is for values built from constants of this package.
func must[T any](v T, err error) T {
	if err != nil {
		panic("lease: " + err.Error())
	}
	return v
}

// encode writes one of this package's own types, which can't fail.
func encode(v any) []byte { return must(encMode.Marshal(v)) }

// decodeCanonical reads b into v and refuses every spelling but encode's own.
func decodeCanonical(mode cbor.DecMode, b []byte, v any) error {
	if err := mode.Unmarshal(b, v); err != nil {
		return malformed("%s", explain(err))
	}
	if !bytes.Equal(encode(v), b) {
		return malformed("not the canonical encoding, or a field has the wrong length")
	}
	return nil
}

// explain says in plain words what the decoder refused.
func explain(err error) string {
	var duplicate *cbor.DupMapKeyError
	var unknown *cbor.UnknownFieldError
	var wrongType *cbor.UnmarshalTypeError
	switch {
	case errors.As(err, &duplicate):
		return "a field stands there twice"
	case errors.As(err, &unknown):
		return "unknown field"
	case errors.As(err, &wrongType):
		return "a field has a value of the wrong kind"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "cut short"
	default:
		return "not the expected CBOR (" + strings.TrimPrefix(err.Error(), "cbor: ") + ")"
	}
}

// envelope is a signed body. The first element of chain and request names its
// signer; that of each later one is the key before it.
type envelope struct {
	signer    *grid.PublicKey
	body      []byte
	signature []byte
}

type plainEnvelope struct {
	_         struct{} `cbor:",toarray"`
	Version   uint64
	Body      []byte
	Signature []byte
}

type namedEnvelope struct {
	_         struct{} `cbor:",toarray"`
	Version   uint64
	Body      []byte
	Signature []byte
	Signer    grid.PublicKey
}

// headers of CBOR arrays with three and four elements.
const (
	plainHeader = 0x83
	namedHeader = 0x84
)

// seal signs body under tag.
func seal(key ed25519.PrivateKey, tag string, body []byte, first bool) envelope {
	e := envelope{body: body, signature: ed25519.Sign(key, append([]byte(tag), body...))}
	if first {
		e.signer = new(grid.PublicKeyOf(key))
	}
	return e
}

// holds reports whether the signature is signer's.
func (e envelope) holds(signer grid.PublicKey, tag string) bool {
	return signer.Verify(append([]byte(tag), e.body...), e.signature)
}

func (e envelope) encode() []byte {
	if e.signer == nil {
		return encode(plainEnvelope{Version: CertificateVersion, Body: e.body, Signature: e.signature})
	}
	return encode(namedEnvelope{Version: CertificateVersion, Body: e.body, Signature: e.signature, Signer: *e.signer})
}

func decodeEnvelope(b []byte) (envelope, error) {
	if len(b) > 0 && b[0] == namedHeader {
		var n namedEnvelope
		if err := decodeCanonical(decMode, b, &n); err != nil {
			return envelope{}, err
		}
		return envelope{&n.Signer, n.Body, n.Signature}, checkEnvelope(n.Version, n.Signature)
	}
	if len(b) == 0 || b[0] != plainHeader {
		return envelope{}, malformed("not [version, body, signature]")
	}
	var p plainEnvelope
	if err := decodeCanonical(decMode, b, &p); err != nil {
		return envelope{}, err
	}
	return envelope{nil, p.Body, p.Signature}, checkEnvelope(p.Version, p.Signature)
}

func checkEnvelope(version uint64, signature []byte) error {
	if version != CertificateVersion {
		return malformed("version %d; this program knows version %d", version, CertificateVersion)
	}
	if len(signature) != ed25519.SignatureSize {
		return malformed("signature of %d bytes", len(signature))
	}
	return nil
}
