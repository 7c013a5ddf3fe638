package literllm

/*
#include "literllm.h"
*/
import "C"

import (
	"encoding/json"
	"runtime/cgo"
	"sync"
	"unsafe"
)

// queueLimit is how many chunks wait for a consumer before the provider is no longer read.
const queueLimit = 256

// delivery brings the chunks of one call from the library's threads to the goroutine that asked. The library's side never blocks: it puts
// down what came, and pauses the call where nobody takes it away.
type delivery struct {
	handle cgo.Handle
	call   *C.literllm_call
	// ready has a value while something was put down since it was last looked at.
	ready        chan struct{}
	wantResponse bool
	// Used by the library's side alone.
	id, model string

	mu       sync.Mutex
	batches  [][]ChatCompletionChunk
	queued   int
	paused   bool
	done     bool
	response []byte
	failure  []byte
}

func newDelivery(wantResponse bool) *delivery {
	return &delivery{ready: make(chan struct{}, 1), wantResponse: wantResponse}
}

// take empties the queue into a list that is used again. over says that nothing follows.
func (d *delivery) take(into [][]ChatCompletionChunk) (batches [][]ChatCompletionChunk, over bool) {
	d.mu.Lock()
	batches, d.batches = d.batches, into[:0]
	paused := d.paused
	d.paused, d.queued, over = false, 0, d.done
	d.mu.Unlock()
	if paused {
		d.resume()
	}
	return batches, over
}

func (d *delivery) put(batch []ChatCompletionChunk) C.uint32_t {
	d.mu.Lock()
	d.batches = append(d.batches, batch)
	d.queued += len(batch)
	pause := d.queued >= queueLimit
	d.paused = pause
	d.mu.Unlock()
	d.signal()
	if pause {
		return C.LITERLLM_FLOW_PAUSE
	}
	return C.LITERLLM_FLOW_CONTINUE
}

func (d *delivery) signal() {
	select {
	case d.ready <- struct{}{}:
	default:
	}
}

//export literllmGoChunks
func literllmGoChunks(handle C.uintptr_t, chunks unsafe.Pointer, count C.size_t) C.uint32_t {
	d := cgo.Handle(handle).Value().(*delivery)
	return d.put(d.convert(unsafe.Slice((**C.literllm_chunk)(chunks), int(count))))
}

//export literllmGoDone
func literllmGoDone(handle C.uintptr_t, response, failure unsafe.Pointer) {
	d := cgo.Handle(handle).Value().(*delivery)
	var answer, reason []byte
	if failure != nil {
		reason = textBytes(C.literllm_error_json((*C.literllm_error)(failure)))
	} else if d.wantResponse {
		answer = textBytes(C.literllm_response_json((*C.literllm_response)(response)))
	}
	d.mu.Lock()
	d.done, d.response, d.failure = true, answer, reason
	d.mu.Unlock()
	d.signal()
}

// convert copies a batch out of the library's memory: one block for its chunks, one for its choices, one for its text.
func (d *delivery) convert(views []*C.literllm_chunk) []ChatCompletionChunk {
	choiceCount, pieceCount, textLength := 0, 0, 0
	for _, view := range views {
		for _, choice := range choicesOf(view) {
			choiceCount++
			for _, text := range [...]C.literllm_text{choice.delta.content, choice.delta.reasoning_content} {
				if text.data != nil {
					pieceCount++
					textLength += int(text.length)
				}
			}
		}
	}
	chunks := make([]ChatCompletionChunk, len(views))
	block := block{
		choices: make([]ChunkChoice, 0, choiceCount),
		texts:   make([]byte, 0, textLength),
		pieces:  make([]string, 0, pieceCount),
	}
	for i, view := range views {
		if view.has_more {
			if err := json.Unmarshal(unsafeBytes(C.literllm_chunk_json(view)), &chunks[i]); err == nil {
				continue
			}
		}
		d.fill(&chunks[i], view, &block)
	}
	return chunks
}

func (d *delivery) fill(chunk *ChatCompletionChunk, view *C.literllm_chunk, block *block) {
	chunk.ID = again(&d.id, view.id)
	chunk.Model = again(&d.model, view.model)
	chunk.Created = int64(view.created)
	chunk.SystemFingerprint = text(view.system_fingerprint)
	chunk.ServiceTier = text(view.service_tier)
	chunk.Usage = usageOf(view.usage)
	first := len(block.choices)
	for _, choice := range choicesOf(view) {
		delta := choice.delta
		block.choices = append(block.choices, ChunkChoice{
			Index:              int(choice.index),
			FinishReason:       FinishReason(text(choice.finish_reason)),
			NativeFinishReason: text(choice.native_finish_reason),
			Delta: Delta{
				Role:             Role(text(delta.role)),
				Content:          block.text(delta.content),
				Refusal:          optional(delta.refusal),
				ReasoningContent: block.text(delta.reasoning_content),
				ToolCalls:        toolCallsOf(delta),
			},
		})
	}
	chunk.Choices = block.choices[first:len(block.choices):len(block.choices)]
}

// block is the memory that the chunks of a batch share. It is made large enough at once, so that nothing in it moves.
type block struct {
	choices []ChunkChoice
	texts   []byte
	pieces  []string
}

func (b *block) text(text C.literllm_text) *string {
	if text.data == nil {
		return nil
	}
	start := len(b.texts)
	b.texts = append(b.texts, unsafeBytes(text)...)
	b.pieces = append(b.pieces, unsafe.String(unsafe.SliceData(b.texts[start:]), int(text.length)))
	return &b.pieces[len(b.pieces)-1]
}

func choicesOf(view *C.literllm_chunk) []*C.literllm_chunk_choice {
	return unsafe.Slice((**C.literllm_chunk_choice)(unsafe.Pointer(view.choices)), int(view.choices_length))
}

func toolCallsOf(delta *C.literllm_message) []ToolCallDelta {
	if delta.tool_calls_length == 0 {
		return nil
	}
	views := unsafe.Slice((**C.literllm_tool_call)(unsafe.Pointer(delta.tool_calls)), int(delta.tool_calls_length))
	calls := make([]ToolCallDelta, len(views))
	for i, view := range views {
		calls[i] = ToolCallDelta{Index: int(view.index), ID: text(view.id), Type: text(view.kind)}
		if view.name.data != nil || view.arguments.data != nil {
			calls[i].Function = &FunctionDelta{Name: text(view.name), Arguments: text(view.arguments)}
		}
	}
	return calls
}

func usageOf(view *C.literllm_usage) *Usage {
	if view == nil {
		return nil
	}
	usage := &Usage{
		PromptTokens:     int64(view.prompt_tokens),
		CompletionTokens: int64(view.completion_tokens),
		TotalTokens:      int64(view.total_tokens),
	}
	if view.cached_tokens >= 0 {
		cached := int64(view.cached_tokens)
		usage.PromptTokensDetails = &PromptTokensDetails{CachedTokens: &cached}
	}
	if view.reasoning_tokens >= 0 {
		reasoning := int64(view.reasoning_tokens)
		usage.CompletionTokensDetails = &CompletionTokensDetails{ReasoningTokens: &reasoning}
	}
	return usage
}

// again is a text that is the same as last time, as a rule, and then is not copied.
func again(last *string, view C.literllm_text) string {
	if bytes := unsafeBytes(view); string(bytes) != *last {
		*last = string(bytes)
	}
	return *last
}

func text(view C.literllm_text) string {
	if view.length == 0 {
		return ""
	}
	return string(unsafeBytes(view))
}

func optional(view C.literllm_text) *string {
	if view.data == nil {
		return nil
	}
	copied := text(view)
	return &copied
}

// unsafeBytes is a text in the library's memory, good until the callback returns.
func unsafeBytes(view C.literllm_text) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(view.data)), int(view.length))
}
