package control

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/grid"
	"github.com/tarn-grid/tarn/lease"
)

// Paths of what is no object but a share: one whole file goes one way.
const (
	pathImport = pathOperator + "shares/import"
	pathExport = pathOperator + "shares/export"
)

// shareCalls carry shares, which go in no object.
type shareCalls struct {
	take func(ctx context.Context, id lease.ShareID, r io.Reader, size int64) (stored bool, err error)
	give func(ctx context.Context, id lease.ShareID, w io.Writer) error
}

// KeptShare is tarn.KeptShare as JSON; the UEB hash is base32.
type KeptShare struct {
	Share   int       `json:"share"`
	Size    int64     `json:"size"`
	UEBHash string    `json:"ueb_hash,omitempty"`
	Mutable bool      `json:"mutable"`
	Ends    time.Time `json:"ends"`
}

type sharesOf struct {
	StorageIndex string `json:"storage_index"`
}

// Shares lists the shares of a file.
func (o Operator) Shares(ctx context.Context, si grid.StorageIndex) (list []KeptShare, err error) {
	return list, o.call(ctx, "shares", sharesOf{si.String()}, &list)
}

func listShares(ctx context.Context, o tarn.Operator, ask sharesOf) ([]KeptShare, error) {
	si, err := grid.ParseStorageIndex(ask.StorageIndex)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	list, err := o.Shares(ctx, si)
	return listOf(list, func(s tarn.KeptShare) KeptShare {
		k := KeptShare{Share: int(s.Num), Size: s.Size, Mutable: s.Mutable, Ends: s.Ends}
		if !s.Mutable {
			k.UEBHash = grid.EncodeBase32(s.UEBHash[:])
		}
		return k
	}), err
}

// shareOffer is tarn.ShareOffer as JSON.
type shareOffer struct {
	StorageIndex string    `json:"storage_index"`
	Share        string    `json:"share"`
	UEBHash      []byte    `json:"ueb_hash"`
	Enabler      []byte    `json:"write_enabler"`
	Ends         time.Time `json:"ends,omitzero"`
}

type shareWanted struct {
	Wanted bool `json:"wanted"`
}

// OfferShare says what a share is, without its bytes.
func (o Operator) OfferShare(ctx context.Context, id lease.ShareID, s tarn.ShareOffer) (wanted bool, err error) {
	var answer shareWanted
	err = o.call(ctx, "shares/offer", shareOffer{id.StorageIndex.String(), id.Num.String(), s.UEBHash[:], s.Enabler[:], s.Ends}, &answer)
	return answer.Wanted, err
}

func offerShare(ctx context.Context, o tarn.Operator, ask shareOffer) (shareWanted, error) {
	id, err := shareIDOf(ask.StorageIndex, ask.Share)
	if err != nil {
		return shareWanted{}, err
	}
	s := tarn.ShareOffer{Ends: ask.Ends}
	if copy(s.UEBHash[:], ask.UEBHash) != len(s.UEBHash) || copy(s.Enabler[:], ask.Enabler) != len(s.Enabler) {
		return shareWanted{}, fmt.Errorf("%w: hashes of %d and %d bytes", ErrRequest, len(ask.UEBHash), len(ask.Enabler))
	}
	wanted, err := o.OfferShare(ctx, id, s)
	return shareWanted{wanted}, err
}

type anyMutable struct {
	Mutable bool `json:"mutable"`
}

// HasMutable reports whether any share can be changed.
func (o Operator) HasMutable(ctx context.Context) (bool, error) {
	var answer anyMutable
	err := o.call(ctx, "shares/mutable", nothing{}, &answer)
	return answer.Mutable, err
}

func hasMutable(ctx context.Context, o tarn.Operator, _ nothing) (anyMutable, error) {
	is, err := o.HasMutable(ctx)
	return anyMutable{is}, err
}

func shareIDOf(si, num string) (id lease.ShareID, err error) {
	if id.StorageIndex, err = grid.ParseStorageIndex(si); err == nil {
		id.Num, err = grid.ParseShareNum(num)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return id, err
}

func queryOfShare(id lease.ShareID) string {
	return "?" + url.Values{"file": {id.StorageIndex.String()}, "share": {id.Num.String()}}.Encode()
}

// ImportShare takes in a share as a Tahoe-LAFS server keeps it, of size bytes.
func (o Operator) ImportShare(ctx context.Context, id lease.ShareID, r io.Reader, size int64) (stored bool, err error) {
	return o.shares.take(ctx, id, r, size)
}

// ExportShare writes a share so.
func (o Operator) ExportShare(ctx context.Context, id lease.ShareID, w io.Writer) error {
	return o.shares.give(ctx, id, w)
}

type importedShare struct {
	Stored bool `json:"stored"`
}

func (c *Client) importShare(ctx context.Context, id lease.ShareID, r io.Reader, size int64) (bool, error) {
	body := &stoppable{r: r}
	defer body.stop()
	response, err := c.do(ctx, http.MethodPost, pathImport+queryOfShare(id), body, http.Header{headerSize: {strconv.FormatInt(size, 10)}})
	if input := body.failure(); input != nil {
		return false, fmt.Errorf("read the share: %w", input)
	}
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	var answer importedShare
	err = readObject(response.Body, &answer)
	return answer.Stored, err
}

func (c *Client) exportShare(ctx context.Context, id lease.ShareID, w io.Writer) error {
	g, err := c.get(ctx, pathExport+queryOfShare(id), nil)
	if err != nil {
		return err
	}
	defer g.Close()
	_, err = g.WriteTo(w)
	return err
}

func (s *server) shareHandlers(mux *http.ServeMux) {
	mux.HandleFunc("POST "+pathImport, func(w http.ResponseWriter, r *http.Request) {
		stored, err := s.importShare(r)
		_, _ = io.Copy(io.Discard, r.Body) // a client that still sends hears no answer
		reply(w, importedShare{stored}, err)
	})
	mux.HandleFunc("POST "+pathExport, func(w http.ResponseWriter, r *http.Request) {
		operator, id, err := s.operatorAt(r)
		if err != nil {
			reply(w, nil, err)
			return
		}
		w.Header().Set("Trailer", trailerCode+", "+trailerError)
		w.Header().Set("Content-Type", "application/octet-stream")
		setTrailers(w.Header(), operator.ExportShare(r.Context(), id, w))
	})
}

func (s *server) importShare(r *http.Request) (stored bool, err error) {
	operator, id, err := s.operatorAt(r)
	if err != nil {
		return false, err
	}
	size, err := strconv.ParseInt(r.Header.Get(headerSize), 10, 64)
	if err != nil {
		return false, fmt.Errorf("%w: size %q", ErrRequest, r.Header.Get(headerSize))
	}
	return operator.ImportShare(r.Context(), id, r.Body, size)
}

// operatorAt is the operator, and the share that is meant.
func (s *server) operatorAt(r *http.Request) (tarn.Operator, lease.ShareID, error) {
	operator, err := s.node.Operator()
	if err != nil {
		return nil, lease.ShareID{}, err
	}
	id, err := shareIDOf(r.URL.Query().Get("file"), r.URL.Query().Get("share"))
	return operator, id, err
}
