package literllm

import "encoding/json"

// FinishReason says why a choice ended; empty while it has not. Vendors add to the set.
type FinishReason string

// The finish reasons that are known.
const (
	FinishReasonStop          FinishReason = "stop"
	FinishReasonLength        FinishReason = "length"
	FinishReasonToolCalls     FinishReason = "tool_calls"
	FinishReasonContentFilter FinishReason = "content_filter"
)

// MarshalJSON writes null where the choice has not ended.
func (r FinishReason) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(r))
}

// ChatCompletion is a whole answer.
type ChatCompletion struct {
	ID                string   `json:"id"`
	Created           int64    `json:"created"`
	Model             string   `json:"model"`
	Choices           []Choice `json:"choices"`
	Usage             *Usage   `json:"usage,omitempty"`
	SystemFingerprint string   `json:"system_fingerprint,omitempty"`
	ServiceTier       string   `json:"service_tier,omitempty"`
	// Meta is what the engine knows about the answer beside its content.
	Meta  *AnswerMeta `json:"literllm,omitempty"`
	Extra Extra       `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (c *ChatCompletion) UnmarshalJSON(data []byte) error {
	type plain ChatCompletion
	return decodeRecord(data, (*plain)(c), &c.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (c ChatCompletion) MarshalJSON() ([]byte, error) {
	type plain ChatCompletion
	return encodeRecord(struct {
		Object string `json:"object"`
		plain
	}{"chat.completion", plain(c)}, c.Extra)
}

// Text is the text of the first choice.
func (c *ChatCompletion) Text() string {
	if c == nil || len(c.Choices) == 0 {
		return ""
	}
	return c.Choices[0].Message.Text()
}

// Choice is one choice of a whole answer.
type Choice struct {
	Index        int             `json:"index"`
	Message      Message         `json:"message"`
	Logprobs     json.RawMessage `json:"logprobs,omitempty"`
	FinishReason FinishReason    `json:"finish_reason"`
	// NativeFinishReason is the provider's own word for it.
	NativeFinishReason string `json:"native_finish_reason,omitempty"`
	Extra              Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (c *Choice) UnmarshalJSON(data []byte) error {
	type plain Choice
	return decodeRecord(data, (*plain)(c), &c.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (c Choice) MarshalJSON() ([]byte, error) {
	type plain Choice
	return encodeRecord(plain(c), c.Extra)
}

// AnswerMeta says who answered and at what cost.
type AnswerMeta struct {
	Provider  string            `json:"provider,omitempty"`
	RequestID string            `json:"request_id,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	// Cost is in US dollars, where the model's price is known.
	Cost *float64 `json:"cost,omitempty"`
	// Cached says that the answer was kept from an earlier call; it cost nothing then.
	Cached bool `json:"cached,omitempty"`
	// Attempts are the routes that were asked, in order, where there were several models.
	Attempts []AttemptReport `json:"attempts,omitempty"`
	Extra    Extra           `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (a *AnswerMeta) UnmarshalJSON(data []byte) error {
	type plain AnswerMeta
	return decodeRecord(data, (*plain)(a), &a.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (a AnswerMeta) MarshalJSON() ([]byte, error) {
	type plain AnswerMeta
	return encodeRecord(plain(a), a.Extra)
}

// Usage counts tokens. PromptTokens includes cached ones, CompletionTokens includes reasoning, whatever the provider's own arithmetic.
type Usage struct {
	PromptTokens            int64                    `json:"prompt_tokens"`
	CompletionTokens        int64                    `json:"completion_tokens"`
	TotalTokens             int64                    `json:"total_tokens"`
	PromptTokensDetails     *PromptTokensDetails     `json:"prompt_tokens_details,omitempty"`
	CompletionTokensDetails *CompletionTokensDetails `json:"completion_tokens_details,omitempty"`
	Extra                   Extra                    `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (u *Usage) UnmarshalJSON(data []byte) error {
	type plain Usage
	return decodeRecord(data, (*plain)(u), &u.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (u Usage) MarshalJSON() ([]byte, error) {
	type plain Usage
	return encodeRecord(plain(u), u.Extra)
}

// PromptTokensDetails are counts within the prompt; nil where the provider does not say.
type PromptTokensDetails struct {
	CachedTokens        *int64 `json:"cached_tokens,omitempty"`
	CacheCreationTokens *int64 `json:"cache_creation_tokens,omitempty"`
	AudioTokens         *int64 `json:"audio_tokens,omitempty"`
	Extra               Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (p *PromptTokensDetails) UnmarshalJSON(data []byte) error {
	type plain PromptTokensDetails
	return decodeRecord(data, (*plain)(p), &p.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (p PromptTokensDetails) MarshalJSON() ([]byte, error) {
	type plain PromptTokensDetails
	return encodeRecord(plain(p), p.Extra)
}

// CompletionTokensDetails are counts within the completion; nil where the provider does not say.
type CompletionTokensDetails struct {
	ReasoningTokens          *int64 `json:"reasoning_tokens,omitempty"`
	AudioTokens              *int64 `json:"audio_tokens,omitempty"`
	AcceptedPredictionTokens *int64 `json:"accepted_prediction_tokens,omitempty"`
	RejectedPredictionTokens *int64 `json:"rejected_prediction_tokens,omitempty"`
	Extra                    Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (c *CompletionTokensDetails) UnmarshalJSON(data []byte) error {
	type plain CompletionTokensDetails
	return decodeRecord(data, (*plain)(c), &c.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (c CompletionTokensDetails) MarshalJSON() ([]byte, error) {
	type plain CompletionTokensDetails
	return encodeRecord(plain(c), c.Extra)
}

// AttemptReport is one route that was asked, and what came of it.
type AttemptReport struct {
	Provider  string `json:"provider"`
	Model     string `json:"model"`
	RequestID string `json:"request_id,omitempty"`
	// Mode is prefill, user_turn or restart, where it went on from another.
	Mode string `json:"mode,omitempty"`
	// Error is the error's kind, where it failed.
	Error   ErrorKind `json:"error,omitempty"`
	Message string    `json:"message,omitempty"`
	// Started is when it was asked, in seconds from the beginning of the call; Seconds is how long it took.
	Started float64 `json:"started"`
	Seconds float64 `json:"seconds"`
	// Characters is how many characters of the answer came from it.
	Characters int    `json:"characters"`
	Usage      *Usage `json:"usage,omitempty"`
}
