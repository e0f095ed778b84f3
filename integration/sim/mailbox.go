package sim

import "github.com/asynkron/protoactor-go/actor"

// mailbox handles one message per step, system messages first, so that the
// seed decides after each message who is next.
type mailbox struct {
	loses        func(msg any) bool
	user, system []any
	suspended    bool
	scheduled    bool
	invoker      actor.MessageInvoker
	dispatcher   actor.Dispatcher
}

var _ actor.Mailbox = (*mailbox)(nil)

// PostUserMessage implements actor.Mailbox.
func (m *mailbox) PostUserMessage(msg any) {
	if m.loses(msg) {
		return
	}
	m.user = append(m.user, msg)
	m.schedule()
}

// PostSystemMessage implements actor.Mailbox.
func (m *mailbox) PostSystemMessage(msg any) {
	m.system = append(m.system, msg)
	m.schedule()
}

// RegisterHandlers implements actor.Mailbox.
func (m *mailbox) RegisterHandlers(i actor.MessageInvoker, d actor.Dispatcher) {
	m.invoker, m.dispatcher = i, d
}

// Start implements actor.Mailbox. What was posted before waits for no more.
func (m *mailbox) Start() { m.schedule() }

// UserMessageCount implements actor.Mailbox.
func (m *mailbox) UserMessageCount() int { return len(m.user) }

func (m *mailbox) schedule() {
	idle := len(m.system) == 0 && (m.suspended || len(m.user) == 0)
	if m.scheduled || m.dispatcher == nil || idle {
		return
	}
	m.scheduled = true
	m.dispatcher.Schedule(m.step)
}

func (m *mailbox) step() {
	var current any
	defer func() {
		if r := recover(); r != nil {
			m.invoker.EscalateFailure(r, current)
		}
		m.scheduled = false
		m.schedule()
	}()
	switch {
	case len(m.system) > 0:
		current = pop(&m.system)
		m.handleSystem(current)
	case !m.suspended && len(m.user) > 0:
		current = pop(&m.user)
		m.invoker.InvokeUserMessage(current)
	}
}

func (m *mailbox) handleSystem(msg any) {
	switch msg.(type) {
	case *actor.SuspendMailbox:
		m.suspended = true
	case *actor.ResumeMailbox:
		m.suspended = false
	default:
		m.invoker.InvokeSystemMessage(msg)
	}
}

func pop(queue *[]any) any {
	q := *queue
	msg := q[0]
	q[0] = nil
	*queue = q[1:]
	return msg
}
