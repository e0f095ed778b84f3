package sim_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-grid/tarn/actors"
	"github.com/tarn-grid/tarn/actors/client"
	"github.com/tarn-grid/tarn/actors/env"
	"github.com/tarn-grid/tarn/file"
	"github.com/tarn-grid/tarn/file/immutable"
)

// errPowerFailure ends what a client did when its power failed.
var errPowerFailure = errors.New("the client's power failed")

// errGone ends the reading of a file whose actor is gone. The root package
// hears of that from env.Call.
var errGone = errors.New("the actor that was asked is gone")

// errCancelled ends what a client changed its mind about.
var errCancelled = errors.New("cancelled")

// job is a file on its way in or out.
type job struct {
	g       *simGrid
	c       *clientNode
	what    string
	size    int // of what is stored
	began   time.Time
	moved   time.Time // when it last came on
	done    bool
	err     error
	then    func(error)
	replyTo *env.PID
	reader  *env.PID // of a file that was opened
	open    bool     // its source
	life    int      // of the client's process
}

// begin notes a job; it must end, one way or the other.
func (g *simGrid) begin(c *clientNode, what string, then func(error)) *job {
	g.jobs++
	j := &job{g: g, c: c, what: what, began: g.Now(), moved: g.Now(), then: then, life: c.life}
	c.jobs = append(c.jobs, j)
	return j
}

func (j *job) end(err error) {
	if j.done {
		return
	}
	j.done, j.err = true, err
	j.g.jobs--
	j.c.jobs = slices.DeleteFunc(j.c.jobs, func(o *job) bool { return o == j })
	j.g.Note("%s of %s ends after %v, happily: %v", j.what, j.c.name, j.g.Now().Sub(j.began), err == nil)
	if j.then != nil {
		j.then(err)
	}
}

// cancel gives a job up.
func (g *simGrid) cancel(j *job) {
	g.send(&j.c.node, actors.ToClient{Message: client.Cancel{ReplyTo: j.replyTo}}, j.replyTo)
	g.Sys.End(j.replyTo)
	j.end(errCancelled)
}

// storedFile is a file that the grid said it has.
type storedFile struct {
	client *clientNode
	cap    file.CHK
	data   []byte
	params file.Params
	stored client.Stored
}

// source is a client.Plaintext.
type source struct {
	*bytes.Reader
	job *job
}

func (s source) Close() error {
	s.job.open = false
	return nil
}

// convergence makes equal files equal, whoever stores them.
var convergence = []byte("a convergence secret of the grid")

func keyOf(data []byte, p file.Params) (file.Key, error) {
	l, err := immutable.NewLayout(int64(len(data)), p)
	if err != nil {
		return file.Key{}, err
	}
	h := immutable.NewKeyHasher(l, convergence)
	if _, err := h.Write(data); err != nil {
		return file.Key{}, err
	}
	return h.Key()
}

// put stores a file.
func (g *simGrid) put(c *clientNode, data []byte, p file.Params, then func(*storedFile, error)) *job {
	f := &storedFile{client: c, data: data, params: p}
	j := g.begin(c, "put", func(err error) {
		if err != nil {
			f = nil
		}
		if then != nil {
			then(f, err)
		}
	})
	j.open, j.size = true, len(data)
	g.puts = append(g.puts, j)
	key, err := keyOf(data, p)
	if err != nil {
		j.open = false
		g.After(0, func() { j.end(err) })
		return j
	}
	pid := g.inbox(func(msg any) bool {
		if j.done {
			return true
		}
		j.moved = g.Now()
		switch m := msg.(type) {
		case client.Stored:
			f.cap, f.stored = m.Cap.WithKey(key), m
			g.files = append(g.files, f)
			g.acknowledged(f)
			j.end(nil)
		case error:
			j.end(m)
		}
		return j.done
	})
	j.replyTo = pid
	spec := client.PutSpec{Source: source{bytes.NewReader(data), j}, Size: int64(len(data)), Key: key, Params: p}
	if g.how != nil {
		g.how(&spec)
	}
	g.send(&c.node, actors.ToClient{Message: client.Put{ReplyTo: pid, File: spec}}, pid)
	return j
}

// get reads a range of a file and compares what comes with what should.
func (g *simGrid) get(c *clientNode, capability file.CHK, want []byte, offset, length int, then func(error)) *job {
	j := g.begin(c, "get", then)
	want = want[offset : offset+length]
	var reader *env.PID
	finish := func(err error) {
		g.Sys.Send(reader, client.CloseFile{})
		j.end(err)
	}
	var pid *env.PID
	pid = g.inbox(func(msg any) bool {
		if j.done {
			return true
		}
		j.moved = g.Now()
		switch m := msg.(type) {
		case client.Opened:
			reader = m.PID
			j.reader = reader
			g.Sys.Send(reader, client.ReadRange{ReplyTo: pid, Offset: int64(offset), Length: int64(length), Credit: 2})
		case client.Piece:
			if !bytes.HasPrefix(want, m.Data) || len(m.Data) == 0 {
				g.violated("%s was given %d bytes that are not those of the file", c.name, len(m.Data))
				finish(errors.New("wrong bytes"))
				return true
			}
			want = want[len(m.Data):]
			g.Sys.Send(reader, client.MorePieces{Count: 1})
		case client.RangeEnd:
			if len(want) > 0 {
				g.violated("a read ended %d bytes before its end", len(want))
			}
			finish(nil)
		case error:
			finish(m)
		}
		return j.done
	})
	g.send(&c.node, actors.ToClient{Message: client.Open{ReplyTo: pid, Cap: capability}}, pid)
	return j
}

// wait lets the jobs end that are under way.
func (g *simGrid) wait(within time.Duration) error {
	if err := g.Until(func() bool { return g.jobs == 0 }, within); err != nil {
		for _, c := range g.clients {
			for _, j := range c.jobs {
				err = fmt.Errorf("%s of %s, begun at %v, has not ended: %w", j.what, c.name, j.began.Sub(simStart), err)
			}
		}
		return err
	}
	return nil
}

// putNow and getNow wait for the end of the job.
func (g *simGrid) putNow(c *clientNode, data []byte, p file.Params) (*storedFile, error) {
	var f *storedFile
	var failed error
	g.put(c, data, p, func(got *storedFile, err error) { f, failed = got, err })
	if err := g.wait(time.Hour); err != nil {
		return nil, err
	}
	return f, failed
}

func (g *simGrid) getNow(c *clientNode, f *storedFile) error {
	var failed error
	g.get(c, f.cap, f.data, 0, len(f.data), func(err error) { failed = err })
	if err := g.wait(time.Hour); err != nil {
		return err
	}
	return failed
}
