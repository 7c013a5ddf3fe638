// Command openai-go measures OpenAI's own package.
package main

import (
	"context"

	"github.com/kreuzberg-dev/liter-llm/packages/go/internal/bench/measure"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() { measure.Main(stream) }

func stream(_, url string) func() measure.Seen {
	client := openai.NewClient(option.WithAPIKey("sk-anything"), option.WithBaseURL(url))
	params := openai.ChatCompletionNewParams{Model: "gpt-4o", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(measure.Prompt)}}
	return func() (s measure.Seen) {
		stream := client.Chat.Completions.NewStreaming(context.Background(), params)
		for stream.Next() {
			chunk := stream.Current()
			text := ""
			if len(chunk.Choices) > 0 {
				text = chunk.Choices[0].Delta.Content
			}
			s.Chunk(text)
		}
		measure.Check(stream.Err())
		return s
	}
}
