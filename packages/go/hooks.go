package literllm

/*
#include "literllm.h"
*/
import "C"

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"
)

// Hooks are functions put around every call of a client; nil ones cost nothing. Each runs on a goroutine of its own and may take its time, which
// counts towards the call's total deadline; functions of different calls run at the same time.
//
// What a function changes in its event, of what its stage may change, is what the call goes on with. An error that it returns refuses: the
// call has one of its kind, which is [ErrPermission] unless the error is or wraps an [*Error] or an [ErrorKind], and with its message.
type Hooks struct {
	// BeforeRequest runs before a model is asked, for each model of a list anew. It may change Request, and set Response, with which the call is
	// answered, also as a stream.
	BeforeRequest func(event *HookEvent) error
	// AfterHeaders runs when a provider has answered well, and its content is about to come.
	AfterHeaders func(event *HookEvent) error
	// OnChunks runs before what came together is handed over. It may change Chunks, also leave some out or all.
	OnChunks func(event *HookEvent) error
	// OnError runs when a model has failed for good. It may return another error in place of Error, which the next hook is told, and, while nothing
	// was handed over, set Response, with which the call is answered.
	OnError func(event *HookEvent) error
	// OnEnd runs exactly once, when a call is over. What it returns is not looked at.
	OnEnd func(event *HookEvent) error
}

// HookEvent is what a hook is told; fields that its stage does not name are zero.
type HookEvent struct {
	// Stage is before_request, after_headers, on_chunks, on_error or on_end.
	Stage string `json:"stage"`
	// Call is the number of the call, of its own in this process, and Attempt that of the model in the call, from 1.
	Call     uint64 `json:"call"`
	Attempt  int    `json:"attempt"`
	Provider string `json:"provider"`
	Model    string `json:"model"`
	// Stream says whether the caller asked for a stream.
	Stream bool `json:"stream"`
	// Request is BeforeRequest's.
	Request *ChatCompletionRequest `json:"request"`
	// Status, Headers and RequestID are AfterHeaders's.
	Status    int               `json:"status"`
	Headers   map[string]string `json:"headers"`
	RequestID string            `json:"request_id"`
	// Chunks are OnChunks's.
	Chunks []ChatCompletionChunk `json:"chunks"`
	// Error is OnError's, and OnEnd's where the call failed.
	Error *Error `json:"error"`
	// Response is OnEnd's: the answer, or what there is of it. Others set it to answer.
	Response *ChatCompletion `json:"response"`
	// Seconds is OnEnd's: how long the call took.
	Seconds float64 `json:"seconds"`
}

// WithHooks puts functions around every call of a client. Given several times, all are asked, in order; the first that refuses or answers
// decides.
func WithHooks(hooks Hooks) Option {
	return func(s *settings) { s.hooks = append(s.hooks, hooks) }
}

// stageBits are the stages that some of the hooks want.
func stageBits(all []Hooks) (bits C.uint32_t) {
	for _, hooks := range all {
		for _, stage := range [...]struct {
			wanted bool
			bit    C.uint32_t
		}{
			{hooks.BeforeRequest != nil, C.LITERLLM_HOOK_STAGE_BEFORE_REQUEST},
			{hooks.AfterHeaders != nil, C.LITERLLM_HOOK_STAGE_AFTER_HEADERS},
			{hooks.OnChunks != nil, C.LITERLLM_HOOK_STAGE_ON_CHUNKS},
			{hooks.OnError != nil, C.LITERLLM_HOOK_STAGE_ON_ERROR},
			{hooks.OnEnd != nil, C.LITERLLM_HOOK_STAGE_ON_END},
		} {
			if stage.wanted {
				bits |= stage.bit
			}
		}
	}
	return bits
}

func (h *Hooks) of(stage string) func(*HookEvent) error {
	switch stage {
	case "before_request":
		return h.BeforeRequest
	case "after_headers":
		return h.AfterHeaders
	case "on_chunks":
		return h.OnChunks
	case "on_error":
		return h.OnError
	default:
		return h.OnEnd
	}
}

//export literllmGoHook
func literllmGoHook(handle C.uintptr_t, call unsafe.Pointer) {
	asked := cgo.Handle(handle).Value().(asked)
	hookCall := (*C.literllm_hook_call)(call)
	event := textBytes(C.literllm_hook_call_event(hookCall))
	go func() {
		// A hook may end its goroutine, as testing's FailNow does: the call must not wait for it for ever.
		answer := sayError(&Error{Kind: ErrPanic, Message: "a hook ended its goroutine"})
		defer func() {
			C.literllm_hook_call_answer(hookCall, C.literllm_text{data: bytesPointer(answer), length: C.size_t(len(answer))})
		}()
		answer = asked.answer(event)
	}()
}

//export literllmGoFreeHooks
func literllmGoFreeHooks(handle C.uintptr_t) { cgo.Handle(handle).Delete() }

// hookAnswer is what the engine is told; nothing lets pass.
type hookAnswer struct {
	Request  *ChatCompletionRequest `json:"request,omitempty"`
	Chunks   *[]ChatCompletionChunk `json:"chunks,omitempty"`
	Error    *hookError             `json:"error,omitempty"`
	Response *ChatCompletion        `json:"response,omitempty"`
}

type hookError struct {
	Kind    ErrorKind `json:"kind"`
	Message string    `json:"message"`
}

// asked are a client's hooks, and its sources of tokens by provider.
type asked struct {
	hooks  []Hooks
	tokens map[string]func() (Credential, error)
}

// answer asks the hooks that want the stage, in order, or for a token, and answers in JSON.
func (a asked) answer(text []byte) []byte {
	var answer hookAnswer
	event := &HookEvent{}
	err := json.Unmarshal(text, event)
	if err == nil && event.Stage == "token" {
		return askToken(a.tokens[event.Provider])
	}
	if err == nil {
		answer, err = event.ask(a.hooks)
	}
	if err != nil {
		return sayError(err)
	}
	said, err := json.Marshal(answer)
	if err != nil {
		return sayError(&Error{Kind: ErrInvalidRequest, Message: "what a hook says is no JSON: " + err.Error()})
	}
	return said
}

func sayError(err error) []byte {
	said, _ := json.Marshal(hookAnswer{Error: errorToSay(err)})
	return said
}

// ask lets each hook see what those before it made of the event.
func (e *HookEvent) ask(hooks []Hooks) (answer hookAnswer, err error) {
	// Only what was changed is said, so that what Go does not name of the rest stays as it was.
	was := e.changeable()
	for i := range hooks {
		ask := hooks[i].of(e.Stage)
		if ask == nil {
			continue
		}
		err := e.askOne(ask)
		if e.Stage == "on_end" {
			continue
		}
		if err != nil && e.Stage != "on_error" {
			return hookAnswer{}, err
		}
		if err != nil && err != error(e.Error) {
			answer.Error = errorToSay(err)
			changed := *e.Error
			changed.Kind, changed.Message = answer.Error.Kind, answer.Error.Message
			e.Error = &changed
		} else if e.Response != nil {
			return hookAnswer{Response: e.Response}, nil
		}
	}
	if answer.Error != nil || bytes.Equal(was, e.changeable()) {
		return answer, nil
	}
	if e.Stage == "on_chunks" {
		chunks := append([]ChatCompletionChunk{}, e.Chunks...)
		return hookAnswer{Chunks: &chunks}, nil
	}
	return hookAnswer{Request: e.Request}, nil
}

// askOne makes an error of a panic.
func (e *HookEvent) askOne(ask func(*HookEvent) error) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = &Error{Kind: ErrPanic, Message: fmt.Sprint("a hook panicked: ", panicked)}
		}
	}()
	return ask(e)
}

// changeable is what the stage lets hooks change, as JSON.
func (e *HookEvent) changeable() []byte {
	var text []byte
	switch e.Stage {
	case "before_request":
		text, _ = json.Marshal(e.Request)
	case "on_chunks":
		text, _ = json.Marshal(e.Chunks)
	}
	return text
}

// errorToSay is an error as the engine takes it.
func errorToSay(err error) *hookError {
	said := &hookError{ErrPermission, err.Error()}
	var failure *Error
	var kind ErrorKind
	if errors.As(err, &failure) {
		said.Kind = failure.Kind
	} else if errors.As(err, &kind) {
		said.Kind = kind
	}
	return said
}
