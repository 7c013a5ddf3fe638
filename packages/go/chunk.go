package literllm

import "encoding/json"

// ChatCompletionChunk is one piece of a streamed answer.
type ChatCompletionChunk struct {
	ID      string `json:"id"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
	// Choices is empty in the chunk that carries the usage.
	Choices           []ChunkChoice `json:"choices"`
	Usage             *Usage        `json:"usage,omitempty"`
	SystemFingerprint string        `json:"system_fingerprint,omitempty"`
	ServiceTier       string        `json:"service_tier,omitempty"`
	// Leg is on the first chunk of every later leg of an answer that was gone on with: what happened.
	Leg   *LegEvent `json:"literllm,omitempty"`
	Extra Extra     `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (c *ChatCompletionChunk) UnmarshalJSON(data []byte) error {
	type plain ChatCompletionChunk
	return decodeRecord(data, (*plain)(c), &c.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (c ChatCompletionChunk) MarshalJSON() ([]byte, error) {
	type plain ChatCompletionChunk
	return encodeRecord(struct {
		Object string `json:"object"`
		plain
	}{"chat.completion.chunk", plain(c)}, c.Extra)
}

// ChunkChoice is what a chunk says about one choice.
type ChunkChoice struct {
	Index    int             `json:"index"`
	Delta    Delta           `json:"delta"`
	Logprobs json.RawMessage `json:"logprobs,omitempty"`
	// FinishReason is empty until the choice ends.
	FinishReason FinishReason `json:"finish_reason"`
	// NativeFinishReason is the provider's own word for it.
	NativeFinishReason string `json:"native_finish_reason,omitempty"`
	Extra              Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (c *ChunkChoice) UnmarshalJSON(data []byte) error {
	type plain ChunkChoice
	return decodeRecord(data, (*plain)(c), &c.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (c ChunkChoice) MarshalJSON() ([]byte, error) {
	type plain ChunkChoice
	return encodeRecord(plain(c), c.Extra)
}

// Delta is what a chunk adds to a choice's message. What it does not say is nil or empty.
type Delta struct {
	Role    Role    `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
	Refusal *string `json:"refusal,omitempty"`
	// ReasoningContent is the model's thinking.
	ReasoningContent *string         `json:"reasoning_content,omitempty"`
	ToolCalls        []ToolCallDelta `json:"tool_calls,omitempty"`
	// FunctionCall is the older form of a tool call.
	FunctionCall     *FunctionCall     `json:"function_call,omitempty"`
	ThinkingBlocks   []ThinkingBlock   `json:"thinking_blocks,omitempty"`
	ReasoningDetails []json.RawMessage `json:"reasoning_details,omitempty"`
	Annotations      []Annotation      `json:"annotations,omitempty"`
	Audio            *AudioAnswer      `json:"audio,omitempty"`
	Extra            Extra             `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (d *Delta) UnmarshalJSON(data []byte) error {
	type plain Delta
	return decodeRecord(data, (*plain)(d), &d.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (d Delta) MarshalJSON() ([]byte, error) {
	type plain Delta
	return encodeRecord(plain(d), d.Extra)
}

// ToolCallDelta is a piece of a tool call. The first piece of a call carries ID, Type and the name; later ones only arguments.
type ToolCallDelta struct {
	// Index says which call of this answer: 0, 1, 2 and so on.
	Index    int            `json:"index"`
	ID       string         `json:"id,omitempty"`
	Type     string         `json:"type,omitempty"`
	Function *FunctionDelta `json:"function,omitempty"`
	Extra    Extra          `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (t *ToolCallDelta) UnmarshalJSON(data []byte) error {
	type plain ToolCallDelta
	return decodeRecord(data, (*plain)(t), &t.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (t ToolCallDelta) MarshalJSON() ([]byte, error) {
	type plain ToolCallDelta
	return encodeRecord(plain(t), t.Extra)
}

// FunctionDelta is a piece of a called function's name and arguments.
type FunctionDelta struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
	Extra     Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (f *FunctionDelta) UnmarshalJSON(data []byte) error {
	type plain FunctionDelta
	return decodeRecord(data, (*plain)(f), &f.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (f FunctionDelta) MarshalJSON() ([]byte, error) {
	type plain FunctionDelta
	return encodeRecord(plain(f), f.Extra)
}

// LegEvent says how an answer goes on after a route was left.
type LegEvent struct {
	// Event is resumed where what follows goes on from what was said, and reset where that is void and the answer begins anew.
	Event string `json:"event"`
	// Attempt is the number of the attempt that goes on, from 1.
	Attempt  int    `json:"attempt"`
	Provider string `json:"provider"`
	Model    string `json:"model"`
	// Reason is the error's kind for which the route before was left.
	Reason ErrorKind `json:"reason"`
	// Mode is prefill, user_turn or restart.
	Mode string `json:"mode"`
	// Kept is how many characters of the answer so far are kept.
	Kept int `json:"kept"`
	// Failed are the routes that failed since the leg before.
	Failed []FailedRoute `json:"failed,omitempty"`
	Extra  Extra         `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (l *LegEvent) UnmarshalJSON(data []byte) error {
	type plain LegEvent
	return decodeRecord(data, (*plain)(l), &l.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (l LegEvent) MarshalJSON() ([]byte, error) {
	type plain LegEvent
	return encodeRecord(plain(l), l.Extra)
}

// FailedRoute is a route that failed.
type FailedRoute struct {
	Provider string    `json:"provider"`
	Model    string    `json:"model"`
	Kind     ErrorKind `json:"kind"`
	Message  string    `json:"message"`
}
