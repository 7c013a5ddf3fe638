package dev.kreuzberg.literllm;

/** The README's example, between the marks; ExamplesTest looks whether it shows anything else. */
final class Examples {
    private Examples() {}

    static void stream() {
        // example
        try (var client = new LlmClient(System.getenv("OPENAI_API_KEY"));
                var chunks = client.blocking().chatStream(new ChatRequest("openai/gpt-4o").user("Tell me a story").build())) {
            chunks.forEachRemaining(chunk -> System.out.print(Messages.getText(chunk)));
        }
        // end
    }
}
