package literllm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
)

// stream runs a request with a configuration, both in JSON: the chunks as JSON, and how it ended.
func stream(t *testing.T, config map[string]any, request json.RawMessage) ([]any, string, *llm.Error) {
	t.Helper()
	var options []llm.Option
	for name, value := range config {
		options = append(options, llm.WithConfig(name, value))
	}
	typed := &llm.ChatCompletionRequest{}
	if err := json.Unmarshal(request, typed); err != nil {
		t.Fatal(err)
	}
	delete(typed.Extra, "stream")
	var chunks []any
	var said strings.Builder
	err := llm.NewClient(options...).ChatStream(background, typed, func(chunk *llm.ChatCompletionChunk) error {
		text, err := json.Marshal(chunk)
		if err != nil {
			return err
		}
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			return err
		}
		chunks = append(chunks, value)
		if len(chunk.Choices) > 0 && chunk.Choices[0].Delta.Content != nil {
			said.WriteString(*chunk.Choices[0].Delta.Content)
		}
		return nil
	})
	var failure *llm.Error
	if err != nil && !errors.As(err, &failure) {
		t.Fatal(err)
	}
	return chunks, said.String(), failure
}

func TestConformanceCasesGiveTheirChunks(t *testing.T) {
	cases, err := filepath.Glob(conformance + "/*/*/expected.json")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range cases {
		folder := filepath.Dir(path)
		name := filepath.Base(filepath.Dir(folder)) + "/" + filepath.Base(folder)
		t.Run(name, func(t *testing.T) {
			var config map[string]any
			text := strings.ReplaceAll(string(read(t, filepath.Join(folder, "../client.json"))), "{MOCK}", mock)
			if err := json.Unmarshal([]byte(text), &config); err != nil {
				t.Fatal(err)
			}
			headers, _ := config["headers"].(map[string]any)
			if headers == nil {
				headers = map[string]any{}
			}
			headers["x-mock"] = "case=" + name
			config["headers"], config["max_retries"] = headers, 0
			chunks, _, failure := stream(t, config, read(t, filepath.Join(folder, "request.json")))
			is := map[string]any{"chunks": chunks, "error": nil}
			if chunks == nil {
				is["chunks"] = []any{}
			}
			if failure != nil {
				is["error"] = map[string]any{"kind": string(failure.Kind)}
			}
			var should any
			if err := json.Unmarshal(read(t, path), &should); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(is, should) {
				isText, _ := json.MarshalIndent(is, "", "  ")
				t.Errorf("%s: %v", isText, failure)
			}
		})
	}
}

func TestFaultsEndAsTheTableSays(t *testing.T) {
	var table []struct {
		Name    string
		Mock    string
		Config  map[string]any
		Request json.RawMessage
		Expect  struct {
			Kind         llm.ErrorKind
			When         string
			Text         *string
			FinishReason string `json:"finish_reason"`
			Partial      bool
			Status       int
			RetryAfter   float64 `json:"retry_after"`
			Requests     *int
		}
	}
	if err := json.Unmarshal(read(t, conformance+"/faults.json"), &table); err != nil {
		t.Fatal(err)
	}
	for number, row := range table {
		t.Run(row.Name, func(t *testing.T) {
			id := fmt.Sprintf("go-fault-%d", number)
			config := map[string]any{
				"api_keys": map[string]string{"openai": "test-key-1234"}, "base_urls": map[string]string{"openai": mock + "/v1"},
				"headers": map[string]string{"x-mock": "id=" + id + "; " + row.Mock}, "max_retries": 0,
			}
			for name, value := range row.Config {
				config[name] = value
			}
			request := row.Request
			if request == nil {
				request = json.RawMessage(`{"model":"openai/demo","messages":[{"role":"user","content":"Tell me a story"}]}`)
			}
			chunks, text, failure := stream(t, config, request)
			expect := row.Expect
			var kind llm.ErrorKind
			if failure != nil {
				kind = failure.Kind
			}
			if kind != expect.Kind || expect.Text != nil && *expect.Text != text {
				t.Fatalf("%v after %q", failure, text)
			}
			if expect.FinishReason != "" {
				last, _ := json.Marshal(chunks)
				if strings.Count(string(last), `"finish_reason":"`+expect.FinishReason+`"`) != 1 {
					t.Errorf("finish reason: %s", last)
				}
			}
			if expect.Requests != nil {
				_, body := mockAsk(t, "GET", "/_mock/log?id="+id)
				var log []any
				if err := json.Unmarshal(body, &log); err != nil || len(log) != *expect.Requests {
					t.Errorf("%d requests (%v)", len(log), err)
				}
			}
			if failure == nil {
				return
			}
			if (expect.When == "call") != (len(chunks) == 0) || (failure.Partial != nil) != expect.Partial {
				t.Errorf("%d chunks, partial %v", len(chunks), failure.Partial)
			}
			if failure.Partial != nil && failure.Partial.Text() != text {
				t.Errorf("partial %q of %q", failure.Partial.Text(), text)
			}
			if expect.Status != 0 && failure.Status != expect.Status {
				t.Errorf("status %d", failure.Status)
			}
			if wanted := time.Duration(expect.RetryAfter) * time.Second; wanted != 0 && failure.RetryAfter != wanted {
				t.Errorf("retry after %s", failure.RetryAfter)
			}
			if strings.Contains(failure.Error(), "test-key-1234") {
				t.Error("the message carries the key")
			}
		})
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
