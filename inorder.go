package tarn

import "context"

// mostWaiting is how many results wait, at most, for those before them.
const mostWaiting = 256

// inOrder does several things at once, and hands the results on in the order in
// which they were begun. It belongs to one goroutine.
type inOrder[T any] struct {
	ctx   context.Context
	then  func(T) error
	turns chan struct{} // has an element for each that goes on
	queue []*begun[T]   // what was not handed on
}

// begun is one that goes on; result is there when done is closed.
type begun[T any] struct {
	result T
	done   chan struct{}
}

func newInOrder[T any](ctx context.Context, atOnce int, then func(T) error) *inOrder[T] {
	return &inOrder[T]{ctx: ctx, then: then, turns: make(chan struct{}, atOnce)}
}

// begin does something beside whoever calls it, who waits where enough go on, or
// wait to be handed on.
func (q *inOrder[T]) begin(do func() T) (*begun[T], error) {
	if err := q.handOn(mostWaiting); err != nil {
		return nil, err
	}
	select {
	case q.turns <- struct{}{}:
	case <-q.ctx.Done():
		return nil, context.Cause(q.ctx)
	}
	b := &begun[T]{done: make(chan struct{})}
	q.queue = append(q.queue, b)
	go func() { // ends with do
		defer close(b.done)
		b.result = do()
		<-q.turns
	}()
	return b, nil
}

// handOn hands on what is done, until one is not, but in any case until no more
// than most are left. After an error nothing more is handed on.
func (q *inOrder[T]) handOn(most int) error {
	for len(q.queue) > 0 {
		first := q.queue[0]
		if len(q.queue) <= most && !first.isDone() {
			return nil
		}
		<-first.done
		q.queue = q.queue[1:]
		err := q.then(first.result)
		if err == nil {
			err = q.ctx.Err()
		}
		if err != nil {
			q.queue = nil
			return err
		}
	}
	return nil
}

// end waits for all, and hands it on.
func (q *inOrder[T]) end() error { return q.handOn(0) }

func (b *begun[T]) isDone() bool {
	select {
	case <-b.done:
		return true
	default:
		return false
	}
}
