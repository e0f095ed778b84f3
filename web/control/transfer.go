package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tarn-grid/tarn"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/lease"
)

// progressEvery is the least time between two lines of progress.
const progressEvery = 100 * time.Millisecond

// put stores the request's body and answers with lines of JSON. Progress goes
// out while the body still comes in.
func (s *server) put(w http.ResponseWriter, r *http.Request) {
	options, err := putOptions(r)
	if err != nil {
		reply(w, nil, err)
		return
	}
	controller := http.NewResponseController(w)
	if err := controller.EnableFullDuplex(); err != nil {
		reply(w, nil, fmt.Errorf("answer while reading: %w", err))
		return
	}
	events := &eventWriter[PutResult]{encoder: json.NewEncoder(w), flush: controller.Flush}
	options.Progress = events.progress
	if options.Authority, err = s.bodyAuthority(r); err != nil {
		reply(w, nil, err)
		return
	}
	result, err := s.node.Put(r.Context(), r.Body, options)
	events.end(putResultOf(result), err)
	// The client stops sending once it has that line; to hang up before it has
	// read it could cost it the line.
	_, _ = io.Copy(io.Discard, r.Body)
}

// bodyAuthority reads the authority that stands before the file, if there is
// one.
func (s *server) bodyAuthority(r *http.Request) (lease.Authority, error) {
	text := r.Header.Get(headerAuthority)
	if text == "" {
		return lease.Authority{}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > lease.MaxAuthoritySize {
		return lease.Authority{}, fmt.Errorf("%w: authority of %q bytes", ErrRequest, text)
	}
	return s.authority(io.LimitReader(r.Body, n))
}

// authority reads all of r.
func (s *server) authority(r io.Reader) (lease.Authority, error) {
	a, err := s.node.ReadAuthority(r)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	return a, err
}

// under is the option to use the authority of this text, or none.
func (s *server) under(text string) ([]tarn.Option, error) {
	if text == "" {
		return nil, nil
	}
	a, err := s.authority(strings.NewReader(text))
	return []tarn.Option{tarn.Under(a)}, err
}

// readUnder reads what is asked for, and the option to use the authority in it;
// it answers by itself where one of them can't be read.
func (s *server) readUnder(w http.ResponseWriter, r *http.Request, ask any, authority *string) ([]tarn.Option, bool) {
	err := readObject(r.Body, ask)
	if err == nil {
		var how []tarn.Option
		if how, err = s.under(*authority); err == nil {
			return how, true
		}
	}
	reply(w, nil, err)
	return nil, false
}

// eventWriter may be called from any goroutine.
type eventWriter[R any] struct {
	mu      sync.Mutex
	encoder *json.Encoder
	flush   func() error
	last    time.Time
	ended   bool
}

func (e *eventWriter[R]) progress(done, total int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if now := time.Now(); !e.ended && now.Sub(e.last) >= progressEvery {
		e.last = now
		e.write(progressEvent[R]{Done: done, Total: total})
	}
}

// end writes the last line.
func (e *eventWriter[R]) end(result *R, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
	if err != nil {
		e.write(progressEvent[R]{Error: objectOf(err)})
		return
	}
	e.write(progressEvent[R]{Result: result})
}

// write can fail only because the client is gone, which ends the request's
// context and so what was asked for.
func (e *eventWriter[R]) write(event progressEvent[R]) {
	_ = e.encoder.Encode(event)
	_ = e.flush()
}

// putOptions reads the query, which has no secrets, and the size.
func putOptions(r *http.Request) (tarn.PutOptions, error) {
	options := tarn.PutOptions{Size: -1}
	query := r.URL.Query()
	options.RandomKey = query.Get("random-key") == "true"
	options.Keep = query.Get("keep") == "true"
	if size := r.Header.Get(headerSize); size != "" {
		n, err := strconv.ParseInt(size, 10, 64)
		if err != nil || n < 0 {
			return options, fmt.Errorf("%w: size %q", ErrRequest, size)
		}
		options.Size = n
	}
	options.Helped = query.Has("helper")
	if text := query.Get("helper"); text != "" {
		ref, err := tarn.ParseHelperRef(text)
		if err != nil {
			return options, err
		}
		options.Helper = &ref
	}
	options.OrDirectly = query.Get("or-directly") == "true"
	if !query.Has("needed") {
		return options, nil
	}
	params, err := paramsOf(query)
	options.Params = &params
	return options, err
}

func paramsOf(query url.Values) (file.Params, error) {
	var numbers [4]int64
	for i, name := range []string{"needed", "happy", "total", "segment-size"} {
		n, err := strconv.ParseInt(query.Get(name), 10, 64)
		if err != nil {
			return file.Params{}, fmt.Errorf("%w: %s=%q", ErrRequest, name, query.Get(name))
		}
		numbers[i] = n
	}
	p := file.Params{Needed: int(numbers[0]), Happy: int(numbers[1]), Total: int(numbers[2]), SegmentSize: numbers[3]}
	return p, p.Validate()
}

func queryOf(o PutOptions) url.Values {
	query := url.Values{}
	if o.RandomKey {
		query.Set("random-key", "true")
	}
	if o.Keep {
		query.Set("keep", "true")
	}
	if o.Helper != nil {
		query.Set("helper", o.Helper.String())
	} else if o.Helped {
		query.Set("helper", "")
	}
	if o.OrDirectly {
		query.Set("or-directly", "true")
	}
	if p := o.Params; p != nil {
		query.Set("needed", strconv.Itoa(p.Needed))
		query.Set("happy", strconv.Itoa(p.Happy))
		query.Set("total", strconv.Itoa(p.Total))
		query.Set("segment-size", strconv.FormatInt(p.SegmentSize, 10))
	}
	return query
}

// get answers with the file's bytes and says in trailers whether they are all.
func (s *server) get(w http.ResponseWriter, r *http.Request) {
	var ask getRequest
	how, ok := s.readUnder(w, r, &ask, &ask.Authority)
	if !ok {
		return
	}
	l, err := s.follow(r.Context(), ask.Cap, ask.Path, how)
	if err != nil {
		reply(w, nil, err)
		return
	}
	f, err := s.node.Open(r.Context(), l.Capability().String(), how...)
	if err != nil {
		reply(w, nil, err)
		return
	}
	defer f.Close()
	length, err := rangeOf(ask, f.Size())
	if err != nil {
		reply(w, nil, err)
		return
	}
	header := w.Header()
	header.Set("Trailer", trailerCode+", "+trailerError)
	header.Set("Content-Type", "application/octet-stream")
	header.Set(headerSize, strconv.FormatInt(length, 10))
	// A client that only waits should learn the size at once; if this fails it
	// is gone, and so the write below fails too.
	_ = http.NewResponseController(w).Flush()
	setTrailers(header, f.WriteRange(w, ask.Offset, length))
}

func setTrailers(header http.Header, err error) {
	if err == nil {
		header.Set(trailerCode, codeOK)
		return
	}
	code, _ := codeOf(err)
	header.Set(trailerCode, code)
	header.Set(trailerError, strings.Join(strings.Fields(err.Error()), " "))
}

func rangeOf(ask getRequest, size int64) (int64, error) {
	if ask.Offset < 0 || ask.Offset > size {
		return 0, fmt.Errorf("%w: offset %d of a file of %d bytes", ErrRequest, ask.Offset, size)
	}
	if ask.Length < 0 || ask.Length > size-ask.Offset {
		return size - ask.Offset, nil
	}
	return ask.Length, nil
}
