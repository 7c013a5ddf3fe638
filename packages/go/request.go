package literllm

import "encoding/json"

// ChatCompletionRequest is OpenAI's chat request. Set what you need; nil and empty fields are not sent.
type ChatCompletionRequest struct {
	// Model is provider/model.
	Model string `json:"model"`
	// FallbackModels are tried in order where Model fails, before or inside its answer. An empty list that is not nil lets Model go on with
	// itself.
	FallbackModels      []string           `json:"-"`
	Messages            []Message          `json:"messages"`
	StreamOptions       *StreamOptions     `json:"stream_options,omitempty"`
	Temperature         *float64           `json:"temperature,omitempty"`
	TopP                *float64           `json:"top_p,omitempty"`
	N                   *int               `json:"n,omitempty"`
	MaxTokens           *int64             `json:"max_tokens,omitempty"`
	MaxCompletionTokens *int64             `json:"max_completion_tokens,omitempty"`
	Stop                []string           `json:"stop,omitempty"`
	Seed                *int64             `json:"seed,omitempty"`
	PresencePenalty     *float64           `json:"presence_penalty,omitempty"`
	FrequencyPenalty    *float64           `json:"frequency_penalty,omitempty"`
	LogitBias           map[string]float64 `json:"logit_bias,omitempty"`
	Logprobs            *bool              `json:"logprobs,omitempty"`
	TopLogprobs         *int               `json:"top_logprobs,omitempty"`
	Tools               []Tool             `json:"tools,omitempty"`
	// ToolChoice is a string such as auto, none or required, or what [ToolChoiceFunction] gives.
	ToolChoice        any   `json:"tool_choice,omitempty"`
	ParallelToolCalls *bool `json:"parallel_tool_calls,omitempty"`
	// ResponseFormat is what [JSONObject] or [JSONSchema] gives, or any value that is such an object in JSON.
	ResponseFormat   any               `json:"response_format,omitempty"`
	ReasoningEffort  string            `json:"reasoning_effort,omitempty"`
	Verbosity        string            `json:"verbosity,omitempty"`
	Modalities       []string          `json:"modalities,omitempty"`
	Audio            any               `json:"audio,omitempty"`
	Prediction       any               `json:"prediction,omitempty"`
	WebSearchOptions any               `json:"web_search_options,omitempty"`
	Metadata         map[string]string `json:"metadata,omitempty"`
	Store            *bool             `json:"store,omitempty"`
	ServiceTier      string            `json:"service_tier,omitempty"`
	User             string            `json:"user,omitempty"`
	// StreamFallbackMode says how an answer that breaks off is gone on with, where there are FallbackModels: auto (the default), prefill,
	// user_turn, restart or off. It is not sent.
	StreamFallbackMode string `json:"stream_fallback_mode,omitempty"`
	Extra              Extra  `json:"-"`
}

// MarshalJSON writes it with the fields of Extra. The model is a list where there are others to fall back to.
func (c ChatCompletionRequest) MarshalJSON() ([]byte, error) {
	type plain ChatCompletionRequest
	if c.FallbackModels == nil {
		return encodeRecord(plain(c), c.Extra)
	}
	return encodeRecord(struct {
		Model []string `json:"model"`
		plain
	}{append([]string{c.Model}, c.FallbackModels...), plain(c)}, c.Extra)
}

// UnmarshalJSON reads it, with a model or a list of them and one place to stop or several, and keeps unknown fields in Extra.
func (c *ChatCompletionRequest) UnmarshalJSON(data []byte) error {
	type plain ChatCompletionRequest
	lists := struct {
		Model oneOrMany `json:"model"`
		Stop  oneOrMany `json:"stop"`
		*plain
	}{plain: (*plain)(c)}
	if err := decodeRecord(data, &lists, &c.Extra); err != nil {
		return err
	}
	c.Stop, c.FallbackModels = lists.Stop.all, nil
	if len(lists.Model.all) > 0 {
		c.Model = lists.Model.all[0]
	}
	if lists.Model.isList && len(lists.Model.all) > 0 {
		c.FallbackModels = append([]string{}, lists.Model.all[1:]...)
	}
	return nil
}

// oneOrMany is a string, or a list of strings, as OpenAI takes either.
type oneOrMany struct {
	all    []string
	isList bool
}

func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	if o.isList = len(data) > 0 && data[0] == '['; o.isList {
		return json.Unmarshal(data, &o.all)
	}
	var one *string
	if err := json.Unmarshal(data, &one); err != nil || one == nil {
		return err
	}
	o.all = []string{*one}
	return nil
}

// StreamOptions say what a stream has beside its answer.
type StreamOptions struct {
	// IncludeUsage asks for a last chunk with the usage.
	IncludeUsage bool `json:"include_usage"`
}

// Tool is what the model may call.
type Tool struct {
	Type     string              `json:"type"`
	Function *FunctionDefinition `json:"function,omitempty"`
	Extra    Extra               `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (t *Tool) UnmarshalJSON(data []byte) error {
	type plain Tool
	return decodeRecord(data, (*plain)(t), &t.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (t Tool) MarshalJSON() ([]byte, error) {
	type plain Tool
	return encodeRecord(plain(t), t.Extra)
}

// NewFunctionTool is a function, whose parameters are a JSON schema: a json.RawMessage, a map, or any value that is one in JSON.
func NewFunctionTool(name, description string, parameters any) Tool {
	return Tool{Type: "function", Function: &FunctionDefinition{Name: name, Description: description, Parameters: parameters}}
}

// FunctionDefinition describes a function to the model.
type FunctionDefinition struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Parameters  any    `json:"parameters,omitempty"`
	Strict      *bool  `json:"strict,omitempty"`
	Extra       Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (f *FunctionDefinition) UnmarshalJSON(data []byte) error {
	type plain FunctionDefinition
	return decodeRecord(data, (*plain)(f), &f.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (f FunctionDefinition) MarshalJSON() ([]byte, error) {
	type plain FunctionDefinition
	return encodeRecord(plain(f), f.Extra)
}

// ToolChoiceFunction has the model call this function.
func ToolChoiceFunction(name string) any {
	return map[string]any{"type": "function", "function": map[string]any{"name": name}}
}

// JSONObject asks for an answer that is a JSON object.
func JSONObject() any { return map[string]any{"type": "json_object"} }

// JSONSchema asks for an answer that keeps to a schema.
func JSONSchema(name string, schema any) any {
	return map[string]any{"type": "json_schema", "json_schema": map[string]any{"name": name, "schema": schema, "strict": true}}
}

// Ptr is the address of a value, for optional fields: Temperature: literllm.Ptr(0.2).
func Ptr[T any](value T) *T { return &value }
