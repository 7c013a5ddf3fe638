package literllm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	llm "github.com/kreuzberg-dev/liter-llm/packages/go"
)

// clientWithTokens asks the mock in a cloud's dialect, with tokens of give.
func clientWithTokens(provider, id string, give func() (llm.Credential, error)) *llm.Client {
	settings := map[string]map[string]string{"vertex_ai": {"project": "p"}, "bedrock": {"region": "us-east-1"}}
	return llm.NewClient(llm.WithProviderBaseURL(provider, mock), llm.WithProviderSettings(provider, settings[provider]),
		llm.WithHeader("x-mock", "text=one; id="+id), llm.WithMaxRetries(0), llm.WithTokenProvider(provider, give))
}

// header is what the mock's log says of a header of each request with this id.
func header(t *testing.T, id, name string) (values []string) {
	var seen []struct{ Headers [][2]string }
	_, body := mockAsk(t, http.MethodGet, "/_mock/log?id="+id)
	if err := json.Unmarshal(body, &seen); err != nil {
		t.Fatal(err)
	}
	for _, request := range seen {
		for _, header := range request.Headers {
			if header[0] == name {
				values = append(values, header[1])
			}
		}
	}
	return values
}

var cloud = map[string]*llm.ChatCompletionRequest{
	"vertex_ai": {Model: "vertex_ai/gemini-2.5-flash", Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, "hi")}},
	"bedrock":   {Model: "bedrock/amazon.nova-lite-v1:0", Messages: []llm.Message{llm.NewTextMessage(llm.RoleUser, "hi")}},
}

func TestTokensComeFromTheProgramAndAreKeptUntilTheyEnd(t *testing.T) {
	var asked atomic.Int32
	c := clientWithTokens("vertex_ai", "go-tokens", func() (llm.Credential, error) {
		number, life := asked.Add(1), time.Hour
		if number == 1 {
			// As good as over when it comes.
			life = time.Second
		}
		return llm.Credential{Token: fmt.Sprintf("own-token-%d", number), ExpiresAt: time.Now().Add(life)}, nil
	})
	for _, calls := range []int32{1, 2, 2} {
		if answer, err := c.Chat(background, cloud["vertex_ai"]); err != nil || answer.Text() != "one" || asked.Load() != calls {
			t.Errorf("%v, asked %d times", err, asked.Load())
		}
	}
	var ends string
	for _, sent := range header(t, "go-tokens", "authorization") {
		ends += sent[len(sent)-1:]
	}
	if ends != "122" {
		t.Errorf("the mock saw %s", ends)
	}
	// Hooks beside it are asked as ever.
	stages := make(chan string, 9)
	both := llm.NewClient(llm.WithProviderBaseURL("vertex_ai", mock), llm.WithProviderSettings("vertex_ai", map[string]string{"project": "p"}),
		llm.WithTokenProvider("vertex_ai", func() (llm.Credential, error) { return llm.Credential{Token: "own"}, nil }),
		llm.WithHooks(llm.Hooks{OnEnd: func(event *llm.HookEvent) error {
			stages <- event.Stage
			return nil
		}}))
	if _, err := both.Chat(background, cloud["vertex_ai"]); err != nil || <-stages != "on_end" {
		t.Error(err)
	}
}

func TestKeysOfAWSComeFromTheProgram(t *testing.T) {
	c := clientWithTokens("bedrock", "go-aws", func() (llm.Credential, error) {
		return llm.Credential{AWS: &llm.AWSKeys{AccessKeyID: "AKIDOWN", SecretAccessKey: "s", SessionToken: "t"}}, nil
	})
	if _, err := c.Chat(background, cloud["bedrock"]); err != nil || len(header(t, "go-aws", "x-amz-security-token")) != 1 {
		t.Error(err)
	}
}

func TestATokenProviderThatGivesNoneFailsTheCall(t *testing.T) {
	for _, give := range []func() (llm.Credential, error){
		func() (llm.Credential, error) {
			return llm.Credential{Token: "own-secret"}, errors.New("the vault is closed")
		},
		func() (llm.Credential, error) { panic("the vault is closed") },
	} {
		_, err := clientWithTokens("vertex_ai", "go-none", give).Chat(background, cloud["vertex_ai"])
		if !errors.Is(err, llm.ErrAuthentication) || !strings.Contains(err.Error(), "the vault is closed") || strings.Contains(err.Error(), "own-secret") {
			t.Error(err)
		}
	}
	one := llm.WithTokenProvider("vertex_ai", func() (llm.Credential, error) { return llm.Credential{}, nil })
	if _, err := client().Chat(background, ask("text=hi"), one); !errors.Is(err, llm.ErrInvalidRequest) {
		t.Errorf("for a call: %v", err)
	}
}
