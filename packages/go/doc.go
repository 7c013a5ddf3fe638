// Package literllm streams every LLM the same way: name provider/model, get OpenAI's chunks.
//
//	client := literllm.NewClient(literllm.WithAPIKey(os.Getenv("OPENAI_API_KEY")))
//	err := client.ChatStream(ctx, &literllm.ChatCompletionRequest{
//		Model:    "openai/gpt-4o",
//		Messages: []literllm.Message{literllm.NewTextMessage(literllm.RoleUser, "Tell me a story")},
//	}, func(chunk *literllm.ChatCompletionChunk) error {
//		if len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != nil {
//			fmt.Print(*chunk.Choices[0].Delta.Content)
//		}
//		return nil
//	})
//
// The engine is libliterllm, written in Rust and linked through cgo: scripts/install of the repository puts it where pkg-config finds it.
// It is linked statically; build with -tags literllm_shared to link the shared library. Waiting for a provider parks a goroutine and no
// thread.
package literllm
