package literllm

import (
	"encoding/json"
	"sync"
)

// Accumulator holds what a call's chunks add up to: the answer so far while the call runs, which may be ahead of the chunk that is looked at
// by what has come since, then the whole answer, or what had come before an error. It may be read at any moment, by any goroutine.
type Accumulator struct {
	mu sync.Mutex
	// running is the stream that is asked, while there is one.
	running *delivery
	last    *ChatCompletion
}

// Completion is the answer; nil while nothing has come. Asking in the middle of a stream copies the answer so far.
func (a *Accumulator) Completion() *ChatCompletion {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running != nil {
		a.read(a.running.answer())
	}
	return a.last
}

// Text is the text of the answer's first choice.
func (a *Accumulator) Text() string { return a.Completion().Text() }

// Message is the first choice's message, to be appended to the conversation; the zero message where there is none.
func (a *Accumulator) Message() Message {
	answer := a.Completion()
	if answer == nil || len(answer.Choices) == 0 {
		return Message{}
	}
	return answer.Choices[0].Message
}

// read keeps an answer, where there is one.
func (a *Accumulator) read(text []byte) {
	answer := &ChatCompletion{}
	if text != nil && json.Unmarshal(text, answer) == nil {
		a.last = answer
	}
}

// begin follows a stream, until end.
func (a *Accumulator) begin(d *delivery) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running, a.last = d, nil
}

// end keeps the whole answer, or what there is of it.
func (a *Accumulator) end(d *delivery) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running, a.last = nil, d.completion()
}
