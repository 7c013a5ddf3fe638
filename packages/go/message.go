package literllm

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// Role says who speaks in a message. Vendors add to the set.
type Role string

// The roles that are known.
const (
	RoleSystem    Role = "system"
	RoleDeveloper Role = "developer"
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleTool      Role = "tool"
)

// Message is one message of a conversation, the same type in a request and in an answer, so that an answer can be sent back as it came.
type Message struct {
	Role      Role       `json:"role"`
	Content   *Content   `json:"content,omitempty"`
	Name      string     `json:"name,omitempty"`
	ToolCalls []ToolCall `json:"tool_calls,omitempty"`
	// ToolCallID names, in a tool's message, the call that it is the result of.
	ToolCallID string  `json:"tool_call_id,omitempty"`
	Refusal    *string `json:"refusal,omitempty"`
	// ReasoningContent is the model's thinking.
	ReasoningContent *string `json:"reasoning_content,omitempty"`
	// ThinkingBlocks are to be sent back unchanged (Anthropic, Bedrock).
	ThinkingBlocks []ThinkingBlock `json:"thinking_blocks,omitempty"`
	// ReasoningDetails are to be sent back unchanged (OpenRouter and its kin).
	ReasoningDetails []json.RawMessage `json:"reasoning_details,omitempty"`
	Annotations      []Annotation      `json:"annotations,omitempty"`
	Audio            *AudioAnswer      `json:"audio,omitempty"`
	// FunctionCall is the older form of a tool call.
	FunctionCall *FunctionCall `json:"function_call,omitempty"`
	Extra        Extra         `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (m *Message) UnmarshalJSON(data []byte) error {
	type plain Message
	return decodeRecord(data, (*plain)(m), &m.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (m Message) MarshalJSON() ([]byte, error) {
	type plain Message
	return encodeRecord(plain(m), m.Extra)
}

// NewTextMessage is a message of plain text.
func NewTextMessage(role Role, text string) Message {
	return Message{Role: role, Content: &Content{Text: text}}
}

// NewPartsMessage is a message of several parts, such as text and images.
func NewPartsMessage(role Role, parts ...ContentPart) Message {
	return Message{Role: role, Content: &Content{Parts: parts}}
}

// NewToolMessage is the result of a tool call.
func NewToolMessage(toolCallID, result string) Message {
	message := NewTextMessage(RoleTool, result)
	message.ToolCallID = toolCallID
	return message
}

// Text is the message's text: the plain content, or its text parts joined.
func (m Message) Text() string {
	if m.Content == nil {
		return ""
	}
	if m.Content.Parts == nil {
		return m.Content.Text
	}
	var text strings.Builder
	for _, part := range m.Content.Parts {
		text.WriteString(part.Text)
	}
	return text.String()
}

// Content is what a message says: parts where there are any, else plain text.
type Content struct {
	Text  string
	Parts []ContentPart
}

// UnmarshalJSON reads a string or a list of parts.
func (c *Content) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte{'['}) {
		c.Text = ""
		return json.Unmarshal(data, &c.Parts)
	}
	c.Parts = nil
	return json.Unmarshal(data, &c.Text)
}

// MarshalJSON writes a string or a list of parts.
func (c Content) MarshalJSON() ([]byte, error) {
	if c.Parts != nil {
		return appendValue(nil, reflect.ValueOf(c.Parts))
	}
	return json.Marshal(c.Text)
}

// ContentPart is one part of a message. Types that this version does not know are carried in Extra.
type ContentPart struct {
	Type       string      `json:"type"`
	Text       string      `json:"text,omitempty"`
	ImageURL   *ImageURL   `json:"image_url,omitempty"`
	InputAudio *InputAudio `json:"input_audio,omitempty"`
	File       *File       `json:"file,omitempty"`
	Refusal    string      `json:"refusal,omitempty"`
	Extra      Extra       `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (c *ContentPart) UnmarshalJSON(data []byte) error {
	type plain ContentPart
	return decodeRecord(data, (*plain)(c), &c.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (c ContentPart) MarshalJSON() ([]byte, error) {
	type plain ContentPart
	return encodeRecord(plain(c), c.Extra)
}

// TextPart is text.
func TextPart(text string) ContentPart { return ContentPart{Type: "text", Text: text} }

// ImagePart is an image by address or data: URL.
func ImagePart(url string) ContentPart {
	return ContentPart{Type: "image_url", ImageURL: &ImageURL{URL: url}}
}

// AudioPart is sound in base64, of a format such as wav or mp3.
func AudioPart(data, format string) ContentPart {
	return ContentPart{Type: "input_audio", InputAudio: &InputAudio{Data: data, Format: format}}
}

// FilePart is a file as a data: URL.
func FilePart(filename, data string) ContentPart {
	return ContentPart{Type: "file", File: &File{Filename: filename, FileData: data}}
}

// ImageURL is an image by address or data: URL.
type ImageURL struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
	Extra  Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (i *ImageURL) UnmarshalJSON(data []byte) error {
	type plain ImageURL
	return decodeRecord(data, (*plain)(i), &i.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (i ImageURL) MarshalJSON() ([]byte, error) {
	type plain ImageURL
	return encodeRecord(plain(i), i.Extra)
}

// InputAudio is sound, in base64.
type InputAudio struct {
	Data   string `json:"data"`
	Format string `json:"format"`
	Extra  Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (i *InputAudio) UnmarshalJSON(data []byte) error {
	type plain InputAudio
	return decodeRecord(data, (*plain)(i), &i.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (i InputAudio) MarshalJSON() ([]byte, error) {
	type plain InputAudio
	return encodeRecord(plain(i), i.Extra)
}

// File is a file by id or as a data: URL.
type File struct {
	FileID   string `json:"file_id,omitempty"`
	Filename string `json:"filename,omitempty"`
	FileData string `json:"file_data,omitempty"`
	Extra    Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (f *File) UnmarshalJSON(data []byte) error {
	type plain File
	return decodeRecord(data, (*plain)(f), &f.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (f File) MarshalJSON() ([]byte, error) {
	type plain File
	return encodeRecord(plain(f), f.Extra)
}

// ToolCall is a call of a tool by the model.
type ToolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type,omitempty"`
	Function FunctionCall `json:"function"`
	Extra    Extra        `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (t *ToolCall) UnmarshalJSON(data []byte) error {
	type plain ToolCall
	return decodeRecord(data, (*plain)(t), &t.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (t ToolCall) MarshalJSON() ([]byte, error) {
	type plain ToolCall
	return encodeRecord(plain(t), t.Extra)
}

// FunctionCall is a called function and its arguments.
type FunctionCall struct {
	Name string `json:"name"`
	// Arguments are JSON text, as the model wrote it.
	Arguments string `json:"arguments"`
	Extra     Extra  `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (f *FunctionCall) UnmarshalJSON(data []byte) error {
	type plain FunctionCall
	return decodeRecord(data, (*plain)(f), &f.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (f FunctionCall) MarshalJSON() ([]byte, error) {
	type plain FunctionCall
	return encodeRecord(plain(f), f.Extra)
}

// ThinkingBlock is thinking that the provider wants back unchanged.
type ThinkingBlock struct {
	Type      string  `json:"type"`
	Thinking  *string `json:"thinking,omitempty"`
	Signature *string `json:"signature,omitempty"`
	Data      *string `json:"data,omitempty"`
	Extra     Extra   `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (t *ThinkingBlock) UnmarshalJSON(data []byte) error {
	type plain ThinkingBlock
	return decodeRecord(data, (*plain)(t), &t.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (t ThinkingBlock) MarshalJSON() ([]byte, error) {
	type plain ThinkingBlock
	return encodeRecord(plain(t), t.Extra)
}

// Annotation is a source that the answer cites.
type Annotation struct {
	Type        string       `json:"type"`
	URLCitation *URLCitation `json:"url_citation,omitempty"`
	Extra       Extra        `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (a *Annotation) UnmarshalJSON(data []byte) error {
	type plain Annotation
	return decodeRecord(data, (*plain)(a), &a.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (a Annotation) MarshalJSON() ([]byte, error) {
	type plain Annotation
	return encodeRecord(plain(a), a.Extra)
}

// URLCitation is a cited page and the place in the text that it stands behind.
type URLCitation struct {
	URL        *string `json:"url,omitempty"`
	Title      *string `json:"title,omitempty"`
	StartIndex *int64  `json:"start_index,omitempty"`
	EndIndex   *int64  `json:"end_index,omitempty"`
	Extra      Extra   `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (u *URLCitation) UnmarshalJSON(data []byte) error {
	type plain URLCitation
	return decodeRecord(data, (*plain)(u), &u.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (u URLCitation) MarshalJSON() ([]byte, error) {
	type plain URLCitation
	return encodeRecord(plain(u), u.Extra)
}

// AudioAnswer is sound that the model made.
type AudioAnswer struct {
	ID *string `json:"id,omitempty"`
	// Data is in base64.
	Data       *string `json:"data,omitempty"`
	Transcript *string `json:"transcript,omitempty"`
	ExpiresAt  *int64  `json:"expires_at,omitempty"`
	Extra      Extra   `json:"-"`
}

// UnmarshalJSON reads it and keeps unknown fields in Extra.
func (a *AudioAnswer) UnmarshalJSON(data []byte) error {
	type plain AudioAnswer
	return decodeRecord(data, (*plain)(a), &a.Extra)
}

// MarshalJSON writes it with the fields of Extra.
func (a AudioAnswer) MarshalJSON() ([]byte, error) {
	type plain AudioAnswer
	return encodeRecord(plain(a), a.Extra)
}
