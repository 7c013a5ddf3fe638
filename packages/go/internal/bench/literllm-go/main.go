// Command literllm-go measures this package.
package main

import (
	"context"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
	"github.com/kreuzberg-dev/liter-llm/packages/go/internal/bench/measure"
)

func main() { measure.Main(stream) }

func stream(_, url string) func() measure.Seen {
	client := llm.NewClient(llm.WithProvider("openai"), llm.WithAPIKey("sk-anything"), llm.WithBaseURL(url))
	request := &llm.ChatCompletionRequest{Model: "openai/gpt-4o", Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, measure.Prompt)}}
	return func() (s measure.Seen) {
		measure.Check(client.ChatStream(context.Background(), request, func(chunk *llm.ChatCompletionChunk) error {
			text := ""
			if len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != nil {
				text = *chunk.Choices[0].Delta.Content
			}
			s.Chunk(text)
			return nil
		}))
		return s
	}
}
