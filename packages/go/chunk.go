package literllm

import "encoding/json"

// ChatCompletionChunk is one piece of a streamed answer. What few chunks say has methods instead of fields, so that all others are small:
// a program may get and keep a great many of them.
type ChatCompletionChunk struct {
	ID      string `json:"id"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
	// Choices is empty in the chunk that carries the usage.
	Choices []ChunkChoice `json:"choices"`
	Usage   *Usage        `json:"usage,omitempty"`
	more    *chunkMore
}

// chunkMore is what few chunks say. It is never changed: chunks share it.
type chunkMore struct {
	SystemFingerprint string    `json:"system_fingerprint,omitempty"`
	ServiceTier       string    `json:"service_tier,omitempty"`
	Leg               *LegEvent `json:"literllm,omitempty"`
	extra             Extra
}

// SystemFingerprint names the configuration that the answer was made with.
func (c *ChatCompletionChunk) SystemFingerprint() string { return deref(c.more).SystemFingerprint }

// ServiceTier is the tier at which the request was served.
func (c *ChatCompletionChunk) ServiceTier() string { return deref(c.more).ServiceTier }

// Leg is on the first chunk of every later leg of an answer that was gone on with: what happened. Nil on all others.
func (c *ChatCompletionChunk) Leg() *LegEvent { return deref(c.more).Leg }

// Extra holds the fields that this version does not know. It is not to be changed.
func (c *ChatCompletionChunk) Extra() Extra { return deref(c.more).extra }

// UnmarshalJSON reads it and keeps unknown fields for Extra.
func (c *ChatCompletionChunk) UnmarshalJSON(data []byte) error {
	type plain ChatCompletionChunk
	var more chunkMore
	err := decodeRecord(data, &struct {
		*plain
		*chunkMore
	}{(*plain)(c), &more}, &more.extra)
	c.more = unlessEmpty(more)
	return err
}

// MarshalJSON writes it with the fields of Extra.
func (c ChatCompletionChunk) MarshalJSON() ([]byte, error) {
	type plain ChatCompletionChunk
	return encodeRecord(struct {
		Object string `json:"object"`
		plain
		*chunkMore
	}{"chat.completion.chunk", plain(c), c.more}, c.Extra())
}

// ChunkChoice is what a chunk says about one choice.
type ChunkChoice struct {
	Index int   `json:"index"`
	Delta Delta `json:"delta"`
	// FinishReason is empty until the choice ends.
	FinishReason FinishReason `json:"finish_reason"`
	more         *choiceMore
}

// choiceMore is what few chunks say about a choice. It is never changed.
type choiceMore struct {
	Logprobs           json.RawMessage `json:"logprobs,omitempty"`
	NativeFinishReason string          `json:"native_finish_reason,omitempty"`
	extra              Extra
}

// Logprobs is how likely the tokens were, if that was asked for, as the provider says it.
func (c *ChunkChoice) Logprobs() json.RawMessage { return deref(c.more).Logprobs }

// NativeFinishReason is the provider's own word for the finish reason, where that is another.
func (c *ChunkChoice) NativeFinishReason() string { return deref(c.more).NativeFinishReason }

// Extra holds the fields that this version does not know. It is not to be changed.
func (c *ChunkChoice) Extra() Extra { return deref(c.more).extra }

// UnmarshalJSON reads it and keeps unknown fields for Extra.
func (c *ChunkChoice) UnmarshalJSON(data []byte) error {
	type plain ChunkChoice
	var more choiceMore
	err := decodeRecord(data, &struct {
		*plain
		*choiceMore
	}{(*plain)(c), &more}, &more.extra)
	c.more = unlessEmpty(more)
	return err
}

// MarshalJSON writes it with the fields of Extra.
func (c ChunkChoice) MarshalJSON() ([]byte, error) {
	type plain ChunkChoice
	return encodeRecord(struct {
		plain
		*choiceMore
	}{plain(c), c.more}, c.Extra())
}

// Delta is what a chunk adds to a choice's message. What it does not say is nil or empty.
type Delta struct {
	Role    Role    `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
	// ReasoningContent is the model's thinking.
	ReasoningContent *string         `json:"reasoning_content,omitempty"`
	ToolCalls        []ToolCallDelta `json:"tool_calls,omitempty"`
	more             *deltaMore
}

// deltaMore is what few chunks add to a message. It is never changed.
type deltaMore struct {
	Refusal          *string           `json:"refusal,omitempty"`
	FunctionCall     *FunctionCall     `json:"function_call,omitempty"`
	ThinkingBlocks   []ThinkingBlock   `json:"thinking_blocks,omitempty"`
	ReasoningDetails []json.RawMessage `json:"reasoning_details,omitempty"`
	Annotations      []Annotation      `json:"annotations,omitempty"`
	Audio            *AudioAnswer      `json:"audio,omitempty"`
	extra            Extra
}

// Refusal is what the model says where it refuses; nil where it does not.
func (d *Delta) Refusal() *string { return deref(d.more).Refusal }

// FunctionCall is the older form of a tool call.
func (d *Delta) FunctionCall() *FunctionCall { return deref(d.more).FunctionCall }

// ThinkingBlocks are what the model's thinking consists of, with the signatures that the provider wants to see again.
func (d *Delta) ThinkingBlocks() []ThinkingBlock { return deref(d.more).ThinkingBlocks }

// ReasoningDetails are what some providers say of the thinking in a form of their own.
func (d *Delta) ReasoningDetails() []json.RawMessage { return deref(d.more).ReasoningDetails }

// Annotations are citations and the like.
func (d *Delta) Annotations() []Annotation { return deref(d.more).Annotations }

// Audio is a piece of sound.
func (d *Delta) Audio() *AudioAnswer { return deref(d.more).Audio }

// Extra holds the fields that this version does not know. It is not to be changed.
func (d *Delta) Extra() Extra { return deref(d.more).extra }

// UnmarshalJSON reads it and keeps unknown fields for Extra.
func (d *Delta) UnmarshalJSON(data []byte) error {
	type plain Delta
	var more deltaMore
	err := decodeRecord(data, &struct {
		*plain
		*deltaMore
	}{(*plain)(d), &more}, &more.extra)
	d.more = unlessEmpty(more)
	return err
}

// MarshalJSON writes it with the fields of Extra.
func (d Delta) MarshalJSON() ([]byte, error) {
	type plain Delta
	return encodeRecord(struct {
		plain
		*deltaMore
	}{plain(d), d.more}, d.Extra())
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
