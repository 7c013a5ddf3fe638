package literllm_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
)

func ExampleClient_ChatStream() {
	defer useMock("text=Once upon a time")()
	client := llm.NewClient(llm.WithAPIKey(os.Getenv("OPENAI_API_KEY")))
	err := client.ChatStream(context.Background(), &llm.ChatCompletionRequest{
		Model:    "openai/gpt-4o",
		Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, "Tell me a story")},
	}, func(chunk *llm.ChatCompletionChunk) error {
		if len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != nil {
			fmt.Print(*chunk.Choices[0].Delta.Content)
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: Once upon a time
}

func ExampleClient_Stream() {
	defer useMock("text=Once upon a time")()
	client := llm.NewClient()
	request := &llm.ChatCompletionRequest{
		Model:    "openai/gpt-4o",
		Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, "Tell me a story")},
	}
	for chunk, err := range client.Stream(context.Background(), request) {
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, choice := range chunk.Choices {
			if choice.Delta.Content != nil {
				fmt.Print(*choice.Delta.Content)
			}
		}
	}
	// Output: Once upon a time
}

func ExampleClient_Chat() {
	defer useMock("text=Paris")()
	client := llm.NewClient()
	answer, err := client.Chat(context.Background(), &llm.ChatCompletionRequest{
		Model:    "openai/gpt-4o",
		Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, "What is the capital of France?")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(answer.Text())
	// Output: Paris
}

func ExampleWithAccumulator() {
	defer useMock(`tool=weather:{"city":"Oslo"}`)()
	client := llm.NewClient()
	var answer llm.Accumulator
	err := client.ChatStream(context.Background(), &llm.ChatCompletionRequest{
		Model:    "openai/gpt-4o",
		Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, "How is the weather in Oslo?")},
		Tools: []llm.Tool{llm.NewFunctionTool("weather", "The weather in a city", map[string]any{
			"type":       "object",
			"properties": map[string]any{"city": map[string]any{"type": "string"}},
		})},
	}, func(*llm.ChatCompletionChunk) error { return nil }, llm.WithAccumulator(&answer))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, call := range answer.Message().ToolCalls {
		fmt.Println(call.Function.Name, call.Function.Arguments)
	}
	// Output: weather {"city":"Oslo"}
}

func ExampleError() {
	defer useMock("status=429&retry_after=7")()
	client := llm.NewClient(llm.WithMaxRetries(0))
	_, err := client.Chat(context.Background(), &llm.ChatCompletionRequest{
		Model:    "openai/gpt-4o",
		Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, "Hello")},
	})
	var failure *llm.Error
	if errors.Is(err, llm.ErrRateLimited) && errors.As(err, &failure) {
		fmt.Println(failure.Status, failure.RetryAfter)
	}
	// Output: 429 7s
}
