package literllm

import (
	"context"
	"encoding/json"
	"time"
)

// ErrorKind says what went wrong, as one of a closed set. The kinds are errors, to be asked for with errors.Is.
type ErrorKind string

const (
	// ErrAuthentication: the key is missing or refused.
	ErrAuthentication ErrorKind = "authentication"
	// ErrPermission: the key is good but may not do this.
	ErrPermission ErrorKind = "permission"
	// ErrNotFound: no such model, deployment or path.
	ErrNotFound ErrorKind = "not_found"
	// ErrInvalidRequest: the request cannot be served as it is.
	ErrInvalidRequest ErrorKind = "invalid_request"
	// ErrContextLength: the conversation is longer than the model takes.
	ErrContextLength ErrorKind = "context_length"
	// ErrContentPolicy: the provider refused the content.
	ErrContentPolicy ErrorKind = "content_policy"
	// ErrRateLimited: too many requests or tokens.
	ErrRateLimited ErrorKind = "rate_limited"
	// ErrOverloaded: the provider has no capacity just now.
	ErrOverloaded ErrorKind = "overloaded"
	// ErrServer: the provider failed.
	ErrServer ErrorKind = "server"
	// ErrTimeout: one of the deadlines passed.
	ErrTimeout ErrorKind = "timeout"
	// ErrNetwork: the provider could not be reached.
	ErrNetwork ErrorKind = "network"
	// ErrTruncated: the answer broke off; what had come is the error's Partial.
	ErrTruncated ErrorKind = "truncated"
	// ErrProtocol: the provider sent what is no answer in its own format.
	ErrProtocol ErrorKind = "protocol"
	// ErrCancelled: the call was cancelled.
	ErrCancelled ErrorKind = "cancelled"
	// ErrAllFailed: every model of a list failed; each one's error is among the error's Causes.
	ErrAllFailed ErrorKind = "all_failed"
	// ErrPanic: a bug in the engine.
	ErrPanic ErrorKind = "panic"
)

func (k ErrorKind) Error() string { return string(k) }

// Error is what calls fail with. errors.Is finds its Kind, its Causes and, where a context ended the call, the context's error.
type Error struct {
	Kind ErrorKind
	// Message is for people. It names provider, model, status and request id, and carries no key.
	Message  string
	Provider string
	Model    string
	// Status is the HTTP status; 0 where there was no answer.
	Status int
	// RetryAfter is how long the provider asks to wait; 0 where it does not say.
	RetryAfter time.Duration
	// RequestID is the provider's name for the request, for its support.
	RequestID string
	// Code is the provider's own.
	Code string
	// Param is the request's field that the provider blames.
	Param string
	// Body is the raw body of the provider's error.
	Body string
	// Retryable says whether the same request may succeed later.
	Retryable bool
	// Partial is what had been streamed before; nil where nothing had.
	Partial *ChatCompletion
	// Causes are the errors of each model tried, where all failed.
	Causes []*Error

	context []error
}

func (e *Error) Error() string { return e.Message }

// Unwrap lets errors.Is and errors.As look at the kind, the context's error and the causes.
func (e *Error) Unwrap() []error {
	wrapped := append([]error{e.Kind}, e.context...)
	for _, cause := range e.Causes {
		wrapped = append(wrapped, cause)
	}
	return wrapped
}

// Timeout reports whether a deadline passed, as net.Error does.
func (e *Error) Timeout() bool { return e.Kind == ErrTimeout }

// because adds why the call was cancelled.
func (e *Error) because(ctx context.Context) *Error {
	e.context = append(e.context, ctx.Err())
	if cause := context.Cause(ctx); cause != ctx.Err() {
		e.context = append(e.context, cause)
	}
	return e
}

// UnmarshalJSON reads an error as the engine writes it.
func (e *Error) UnmarshalJSON(data []byte) error {
	var wire struct {
		Kind       ErrorKind       `json:"kind"`
		Message    string          `json:"message"`
		Provider   string          `json:"provider"`
		Model      string          `json:"model"`
		Status     int             `json:"status"`
		RetryAfter float64         `json:"retry_after"`
		RequestID  string          `json:"request_id"`
		Code       string          `json:"code"`
		Param      string          `json:"param"`
		Body       string          `json:"body"`
		Retryable  bool            `json:"retryable"`
		Partial    *ChatCompletion `json:"partial"`
		Causes     []*Error        `json:"causes"`
	}
	if err := json.Unmarshal(data, &wire); err != nil {
		return err
	}
	*e = Error{
		Kind: wire.Kind, Message: wire.Message, Provider: wire.Provider, Model: wire.Model, Status: wire.Status,
		RetryAfter: time.Duration(wire.RetryAfter * float64(time.Second)), RequestID: wire.RequestID, Code: wire.Code,
		Param: wire.Param, Body: wire.Body, Retryable: wire.Retryable, Partial: wire.Partial, Causes: wire.Causes,
	}
	return nil
}

func decodeError(text []byte) *Error {
	e := &Error{}
	if err := json.Unmarshal(text, e); err != nil {
		return &Error{Kind: ErrPanic, Message: "a bug in liter-llm, please report it: an error that cannot be read: " + err.Error()}
	}
	return e
}
