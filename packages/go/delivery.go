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

// What waits for a consumer before the provider is no longer read: so many chunks, or so many bytes of text.
const (
	mostQueued      = 1024
	mostQueuedBytes = 1 << 20
)

// cell is a chunk as nearly all are, in one piece of memory: with one choice, which says one thing.
type cell struct {
	chunk  ChatCompletionChunk
	choice [1]ChunkChoice
	text   string
}

// batchCells is how many cells fill the largest block of memory that Go's allocator has ready, 32 KiB.
const batchCells = (32<<10 - 8) / int(unsafe.Sizeof(cell{}))

// delivery brings the chunks of one call from the library's threads to the goroutine that asked. The library's side never blocks: it puts
// down what came, and pauses the call where nobody takes it away.
type delivery struct {
	handle cgo.Handle
	call   *C.literllm_call
	// ready has a value while something was put down since it was last looked at.
	ready        chan struct{}
	wantResponse bool
	// skipped says that chunks were not handed over, since the context had ended.
	skipped bool
	// Used by the library's side alone.
	id, model, fingerprint, tier interned
	converted                    [][]cell

	mu       sync.Mutex
	batches  [][]cell
	queued   int
	bytes    int
	paused   bool
	done     bool
	response []byte
	failure  []byte
}

func newDelivery(wantResponse bool) *delivery {
	return &delivery{ready: make(chan struct{}, 1), wantResponse: wantResponse}
}

// take empties the queue into a list that is used again. over says that nothing follows.
func (d *delivery) take(into [][]cell) (batches [][]cell, over bool) {
	clear(into)
	d.mu.Lock()
	batches, d.batches = d.batches, into[:0]
	paused := d.paused
	d.paused, d.queued, d.bytes, over = false, 0, 0, d.done
	d.mu.Unlock()
	if paused {
		d.resume()
	}
	return batches, over
}

// put queues what was converted, and says whether the call is to pause.
func (d *delivery) put(chunks, bytes int) C.uint32_t {
	d.mu.Lock()
	d.batches = append(d.batches, d.converted...)
	d.queued += chunks
	d.bytes += bytes
	pause := d.queued >= mostQueued || d.bytes >= mostQueuedBytes
	d.paused = pause
	d.mu.Unlock()
	clear(d.converted)
	d.converted = d.converted[:0]
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
	views := unsafe.Slice((**C.literllm_chunk)(chunks), int(count))
	bytes := 0
	for len(views) > 0 {
		some := views[:min(len(views), batchCells)]
		bytes += d.convert(some)
		views = views[len(some):]
	}
	return d.put(int(count), bytes)
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

// answer is what came in all, once the end has come.
func (d *delivery) answer() *ChatCompletion {
	if d.failure != nil {
		return decodeError(d.failure).Partial
	}
	answer := &ChatCompletion{}
	if json.Unmarshal(d.response, answer) != nil {
		return nil
	}
	return answer
}

// convert copies chunks out of the library's memory: one block for all of them, one for their text. It returns the length of the text.
func (d *delivery) convert(views []*C.literllm_chunk) int {
	length := 0
	for _, view := range views {
		for _, choice := range choicesOf(view) {
			length += int(choice.delta.content.length + choice.delta.reasoning_content.length)
		}
	}
	cells, texts := make([]cell, len(views)), make([]byte, 0, length)
	// What the texts of a batch point at stays in place until it is converted, and no longer.
	for _, same := range [...]*interned{&d.id, &d.model, &d.fingerprint, &d.tier} {
		same.view = C.literllm_text{}
	}
	for i, view := range views {
		if view.has_more {
			whole := unsafeBytes(C.literllm_chunk_json(view))
			length += len(whole)
			if cells[i].chunk.UnmarshalJSON(whole) == nil {
				continue
			}
		}
		texts = d.fill(&cells[i], view, texts)
	}
	d.converted = append(d.converted, cells)
	return length
}

// fill sets what a view says, and nothing else: the memory is new.
func (d *delivery) fill(cell *cell, view *C.literllm_chunk, texts []byte) []byte {
	chunk := &cell.chunk
	chunk.ID = d.id.text(view.id)
	chunk.Model = d.model.text(view.model)
	chunk.Created = int64(view.created)
	if view.system_fingerprint.length > 0 {
		chunk.SystemFingerprint = d.fingerprint.text(view.system_fingerprint)
	}
	if view.service_tier.length > 0 {
		chunk.ServiceTier = d.tier.text(view.service_tier)
	}
	if view.usage != nil {
		chunk.Usage = usageOf(view.usage)
	}
	if view.choices_length == 1 {
		chunk.Choices = cell.choice[:]
	} else {
		chunk.Choices = make([]ChunkChoice, view.choices_length)
	}
	free := &cell.text
	keep := func(view C.literllm_text) (kept *string) {
		if kept = free; kept == nil {
			kept = new(string)
		}
		free = nil
		start := len(texts)
		texts = append(texts, unsafeBytes(view)...)
		*kept = unsafe.String(unsafe.SliceData(texts[start:]), int(view.length))
		return kept
	}
	for i, from := range choicesOf(view) {
		choice, delta := &chunk.Choices[i], from.delta
		choice.Index = int(from.index)
		if from.finish_reason.length > 0 {
			choice.FinishReason = FinishReason(text(from.finish_reason))
			choice.NativeFinishReason = text(from.native_finish_reason)
		}
		to := &choice.Delta
		if delta.role.length > 0 {
			to.Role = Role(text(delta.role))
		}
		if delta.content.data != nil {
			to.Content = keep(delta.content)
		}
		if delta.reasoning_content.data != nil {
			to.ReasoningContent = keep(delta.reasoning_content)
		}
		if delta.refusal.data != nil {
			refusal := text(delta.refusal)
			to.Refusal = &refusal
		}
		if delta.tool_calls_length > 0 {
			to.ToolCalls = toolCallsOf(delta)
		}
	}
	return texts
}

// interned is a text that is the same in every chunk, as a rule, and then copied once.
type interned struct {
	last string
	view C.literllm_text
}

func (t *interned) text(view C.literllm_text) string {
	if view != t.view {
		if bytes := unsafeBytes(view); string(bytes) != t.last {
			t.last = string(bytes)
		}
		t.view = view
	}
	return t.last
}

func choicesOf(view *C.literllm_chunk) []*C.literllm_chunk_choice {
	return unsafe.Slice((**C.literllm_chunk_choice)(unsafe.Pointer(view.choices)), int(view.choices_length))
}

func toolCallsOf(delta *C.literllm_message) []ToolCallDelta {
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

func text(view C.literllm_text) string {
	if view.length == 0 {
		return ""
	}
	return string(unsafeBytes(view))
}

// unsafeBytes is a text in the library's memory, good until the callback returns.
func unsafeBytes(view C.literllm_text) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(view.data)), int(view.length))
}
