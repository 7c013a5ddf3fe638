package literllm

/*
#include "queue.h"
*/
import "C"

import (
	"encoding/binary"
	"unsafe"
)

// envelope is what chunks have in common.
type envelope struct {
	created   int64
	id, model string
	more      *chunkMore
}

// cell is a chunk that adds text, in one piece of memory.
type cell struct {
	chunk  ChatCompletionChunk
	choice [1]ChunkChoice
	text   string
}

// blockCells is how many cells are made at once, at most: they are used up while they are in the nearest cache, and who keeps one keeps them all.
const blockCells = 35

// recordsOf is what is in a pile.
func recordsOf(pile *C.literllm_go_pile) records {
	return records{unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(pile), unsafe.Sizeof(*pile))), int(pile.length))}
}

// each makes the chunks and hands them over, until fn fails.
func (r records) each(common *envelope, fn func(*ChatCompletionChunk) error) error {
	for len(r.data) > 0 {
		if texts, count := r.texts(); count > 0 {
			if err := texts.eachText(make([]cell, count), common, fn); err != nil {
				return err
			}
			continue
		}
		record, content := r.next()
		var chunk *ChatCompletionChunk
		switch record.kind {
		case C.LITERLLM_GO_ENVELOPE:
			*common = content.envelope()
			continue
		case C.LITERLLM_GO_JSON:
			chunk = &ChatCompletionChunk{}
			if err := chunk.UnmarshalJSON(content.data); err != nil {
				return &Error{Kind: ErrPanic, Message: "a bug in liter-llm, please report it: a chunk is no JSON: " + err.Error()}
			}
		default:
			chunk = content.chunk(common)
		}
		if err := fn(chunk); err != nil {
			return err
		}
	}
	return nil
}

// eachText makes as many chunks that add text as there are cells, whose texts stay where they are.
func (r records) eachText(cells []cell, common *envelope, fn func(*ChatCompletionChunk) error) error {
	for i := range cells {
		record, content := r.next()
		cells[i].text = unsafe.String(unsafe.SliceData(content.data), len(content.data))
		if err := fn(cells[i].like(common, record)); err != nil {
			return err
		}
	}
	return nil
}

// like sets what a chunk that adds text says, and nothing else: the memory is new.
func (c *cell) like(common *envelope, record record) *ChatCompletionChunk {
	c.chunk.ID, c.chunk.Created, c.chunk.Model, c.chunk.more = common.id, common.created, common.model, common.more
	c.chunk.Choices = c.choice[:]
	c.choice[0].Index = int(record.choice)
	if record.kind == C.LITERLLM_GO_CONTENT {
		c.choice[0].Delta.Content = &c.text
	} else {
		c.choice[0].Delta.ReasoningContent = &c.text
	}
	return &c.chunk
}

// records are read from the front.
type records struct{ data []byte }

type record struct {
	length       uint32
	choice, kind uint16
}

const headerSize = int(unsafe.Sizeof(record{}))

func filledUp(length int) int { return (length + 7) &^ 7 }

func header(data []byte) record {
	return record{binary.NativeEndian.Uint32(data), binary.NativeEndian.Uint16(data[4:]), binary.NativeEndian.Uint16(data[6:])}
}

func (r *records) next() (record, records) {
	record := header(r.data)
	begin, end := headerSize, headerSize+int(record.length)
	content := records{r.data[begin:end]}
	r.data = r.data[filledUp(end):]
	return record, content
}

// texts takes the chunks off that add text and come next, up to a block of them, and copies them into memory of Go.
func (r *records) texts() (texts records, count int) {
	length := 0
	for length < len(r.data) && count < blockCells {
		record := header(r.data[length:])
		if record.kind != C.LITERLLM_GO_CONTENT && record.kind != C.LITERLLM_GO_REASONING {
			break
		}
		length += filledUp(headerSize + int(record.length))
		count++
	}
	texts = records{append([]byte(nil), r.data[:length]...)}
	r.data = r.data[length:]
	return texts, count
}

func (r *records) number() int64 {
	number := binary.NativeEndian.Uint64(r.data)
	r.data = r.data[8:]
	return int64(number)
}

func (r *records) optional() *string {
	length := int(r.number())
	if length < 0 {
		return nil
	}
	text := string(r.data[:length])
	r.data = r.data[filledUp(length):]
	return &text
}

func (r *records) text() string {
	if text := r.optional(); text != nil {
		return *text
	}
	return ""
}

func (r *records) envelope() envelope {
	return envelope{r.number(), r.text(), r.text(), unlessEmpty(chunkMore{SystemFingerprint: r.text(), ServiceTier: r.text()})}
}

func (r *records) chunk(common *envelope) *ChatCompletionChunk {
	chunk := &ChatCompletionChunk{ID: common.id, Created: common.created, Model: common.model, Usage: r.usage(), more: common.more}
	chunk.Choices = make([]ChunkChoice, r.number())
	for i := range chunk.Choices {
		chunk.Choices[i] = r.choice()
	}
	return chunk
}

func (r *records) usage() *Usage {
	if r.number() == 0 {
		return nil
	}
	usage := &Usage{PromptTokens: r.number(), CompletionTokens: r.number(), TotalTokens: r.number()}
	if cached := r.number(); cached >= 0 {
		usage.PromptTokensDetails = &PromptTokensDetails{CachedTokens: &cached}
	}
	if reasoning := r.number(); reasoning >= 0 {
		usage.CompletionTokensDetails = &CompletionTokensDetails{ReasoningTokens: &reasoning}
	}
	return usage
}

func (r *records) choice() ChunkChoice {
	choice := ChunkChoice{Index: int(r.number()), FinishReason: FinishReason(r.text())}
	choice.more = unlessEmpty(choiceMore{NativeFinishReason: r.text()})
	choice.Delta = Delta{Role: Role(r.text()), Content: r.optional(), more: unlessEmpty(deltaMore{Refusal: r.optional()})}
	choice.Delta.ReasoningContent = r.optional()
	if count := r.number(); count > 0 {
		choice.Delta.ToolCalls = make([]ToolCallDelta, count)
	}
	for i := range choice.Delta.ToolCalls {
		choice.Delta.ToolCalls[i] = r.toolCall()
	}
	return choice
}

func (r *records) toolCall() ToolCallDelta {
	call := ToolCallDelta{Index: int(r.number()), ID: r.text(), Type: r.text()}
	if name, arguments := r.optional(), r.optional(); name != nil || arguments != nil {
		call.Function = &FunctionDelta{Name: deref(name), Arguments: deref(arguments)}
	}
	return call
}
