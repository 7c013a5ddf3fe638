package literllm

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"
)

// Client talks to every provider. It is safe for use by many goroutines at once, and no call waits for another.
type Client struct {
	engine *engine
	// err is what was wrong with the options; every call answers it.
	err error
	mu  sync.RWMutex
}

// NewClient makes a client. Without options, keys and base URLs come from the usual variables, such as OPENAI_API_KEY and OPENAI_BASE_URL.
// Options that are wrong are reported by the first call.
func NewClient(options ...Option) *Client {
	settings := settingsOf(options)
	config, err := settings.json()
	if err != nil {
		return &Client{err: err}
	}
	engine, err := newEngine(config, asked{settings.hooks, settings.tokens})
	return &Client{engine: engine, err: err}
}

// Close gives the client's memory back at once rather than when it is collected. Its calls go on; new ones fail.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine, c.err = nil, &Error{Kind: ErrInvalidRequest, Message: "the client is closed"}
}

// ChatStream asks for a stream and calls fn for each chunk, on the calling goroutine, until the answer ends.
//
// An error of fn stops the stream and is returned as it is. Every other error is an [*Error]. When ctx ends, the connection is closed, and
// the error is also ctx.Err().
func (c *Client) ChatStream(ctx context.Context, request *ChatCompletionRequest, fn func(*ChatCompletionChunk) error, options ...Option) error {
	_, err := c.run(ctx, request, fn, settingsOf(options))
	return err
}

// Stream asks for a stream to range over. Leaving the loop closes the connection. An error comes last, with a nil chunk.
func (c *Client) Stream(ctx context.Context, request *ChatCompletionRequest, options ...Option) iter.Seq2[*ChatCompletionChunk, error] {
	return func(yield func(*ChatCompletionChunk, error) bool) {
		err := c.ChatStream(ctx, request, func(chunk *ChatCompletionChunk) error {
			if !yield(chunk, nil) {
				return errLeft
			}
			return nil
		}, options...)
		if err != nil && err != errLeft {
			yield(nil, err)
		}
	}
}

// errLeft says that the loop was left.
var errLeft = errors.New("the loop was left")

// Chat asks for a whole answer.
func (c *Client) Chat(ctx context.Context, request *ChatCompletionRequest, options ...Option) (*ChatCompletion, error) {
	settings := settingsOf(options)
	answer := &ChatCompletion{}
	body, err := c.run(ctx, request, nil, settings)
	if err == nil {
		err = json.Unmarshal(body, answer)
	}
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// run makes a call: a stream where fn is given, else a whole answer, which is returned as JSON.
func (c *Client) run(ctx context.Context, request *ChatCompletionRequest, fn func(*ChatCompletionChunk) error, settings *settings) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, (&Error{Kind: ErrCancelled, Message: "the context had ended before the call"}).because(ctx)
	}
	if settings.hooks != nil || settings.tokens != nil {
		return nil, &Error{Kind: ErrInvalidRequest, Message: "hooks and token providers are a client's, and cannot be given to a call"}
	}
	if request == nil {
		return nil, &Error{Kind: ErrInvalidRequest, Message: "there is no request"}
	}
	body, err := request.MarshalJSON()
	if err != nil {
		return nil, &Error{Kind: ErrInvalidRequest, Message: "the request is no JSON: " + err.Error()}
	}
	options, err := settings.json()
	if err != nil {
		return nil, err
	}
	c.mu.RLock()
	engine, err := c.engine, c.err
	c.mu.RUnlock()
	if err != nil {
		return nil, err
	}
	d := engine.start(body, options, fn != nil)
	settings.accumulator.begin(d)
	defer func() {
		settings.accumulator.end(d)
		d.free()
	}()
	if err := d.pump(ctx, fn); err != nil {
		return nil, err
	}
	failure := d.failure()
	switch {
	case failure != nil:
	case fn == nil:
		return d.answer(), nil
	case d.skipped:
		failure = &Error{Kind: ErrCancelled, Message: "the context ended before all of the answer was handed over", Partial: d.completion()}
	default:
		return nil, nil
	}
	if ctx.Err() != nil {
		failure = failure.because(ctx)
	}
	return nil, failure
}

// pump hands chunks to fn until the call is over, also where it must be cancelled first. It returns the error of fn.
func (d *delivery) pump(ctx context.Context, fn func(*ChatCompletionChunk) error) (err error) {
	// The end of ctx is heard also while fn runs.
	cancelled, over := make(chan struct{}), false
	unwatch := context.AfterFunc(ctx, func() {
		d.cancel()
		close(cancelled)
	})
	defer func() {
		if !unwatch() {
			<-cancelled
		}
		// fn has failed or panicked: the end is waited for, so that nothing of this call is left.
		if !over {
			d.cancel()
			for !over {
				d.wait()
				over = d.take()
			}
		}
	}()
	handOver := fn
	if done := ctx.Done(); done != nil {
		handOver = func(chunk *ChatCompletionChunk) error {
			select {
			case <-done:
				d.skipped = true
				return nil
			default:
				return fn(chunk)
			}
		}
	}
	var common envelope
	for !over {
		d.wait()
		over = d.take()
		if err := d.each(&common, handOver); err != nil {
			return err
		}
	}
	return nil
}
