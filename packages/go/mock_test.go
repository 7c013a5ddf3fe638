package literllm_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
)

// mock is the address of the mock provider that the tests talk to: the command named by LITERLLM_BIN, or the workspace's release build.
var mock string

const conformance = "../../core/conformance"

func TestMain(m *testing.M) {
	if _, err := os.Stat(command()); err != nil {
		fmt.Println("the mock provider is missing: build the command with cargo build --release -p literllm-cli, or set LITERLLM_BIN")
		os.Exit(1)
	}
	cases, err := filepath.Abs(conformance)
	if err != nil {
		panic(err)
	}
	address, stop := startMock("--cases", cases)
	mock = address
	code := m.Run()
	stop()
	os.Exit(code)
}

func command() string {
	if binary := os.Getenv("LITERLLM_BIN"); binary != "" {
		return binary
	}
	return "../../target/release/literllm"
}

// startMock starts a mock provider, which stops when the function that it returns is called, or with this process.
func startMock(arguments ...string) (address string, stop func()) {
	command := exec.Command(command(), append([]string{"mock", "--port", "0", "--exit-with-stdin"}, arguments...)...)
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		panic(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		panic(err)
	}
	if err := command.Start(); err != nil {
		panic(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		panic(err)
	}
	return strings.TrimSpace(line), func() {
		stdin.Close()
		command.Wait()
	}
}

// useMock points the usual variables at the mock, until the function that it returns is called.
func useMock(behaviour string) func() {
	os.Setenv("OPENAI_API_KEY", "test-key-1234")
	os.Setenv("OPENAI_BASE_URL", mock+"/mock/"+strings.ReplaceAll(url.PathEscape(behaviour), "&", ",")+"/v1")
	return func() {
		os.Unsetenv("OPENAI_API_KEY")
		os.Unsetenv("OPENAI_BASE_URL")
	}
}

// client talks to the mock.
func client(options ...llm.Option) *llm.Client {
	return llm.NewClient(append([]llm.Option{
		llm.WithProviderKey("openai", "test-key-1234"), llm.WithProviderBaseURL("openai", mock+"/v1"), llm.WithMaxRetries(0),
	}, options...)...)
}

// ask is a request whose answer the mock makes as asked for.
func ask(behaviour string) *llm.ChatCompletionRequest {
	return &llm.ChatCompletionRequest{
		Model:    "openai/demo?" + behaviour,
		Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, "hi")},
	}
}

// saw waits until something has happened to the request with this id, and returns what the mock's log says of it.
func saw(t *testing.T, id, event string) map[string]any {
	t.Helper()
	status, body := mockAsk(t, http.MethodGet, fmt.Sprintf("/_mock/wait?id=%s&event=%s&timeout_ms=10000", id, event))
	if status != http.StatusOK {
		t.Fatalf("%s has not seen %s: status %d", id, event, status)
	}
	var entry map[string]any
	if err := json.Unmarshal(body, &entry); err != nil {
		t.Fatal(err)
	}
	return entry
}

func mockAsk(t *testing.T, method, path string) (int, []byte) {
	t.Helper()
	request, err := http.NewRequest(method, mock+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}
