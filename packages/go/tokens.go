package literllm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Credential is what a token provider gives: a token or, for Bedrock, also keys of AWS.
type Credential struct {
	// Token is sent as a bearer token.
	Token string
	// AWS signs requests, in place of a token.
	AWS *AWSKeys
	// ExpiresAt is when it ends. Where it is zero, it is asked for again with every request.
	ExpiresAt time.Time
}

// AWSKeys are what AWS gives a program.
type AWSKeys struct {
	AccessKeyID     string
	SecretAccessKey string
	// SessionToken may be empty.
	SessionToken string
}

// WithTokenProvider has give asked for a provider's tokens, of any for which no key is given, when the client has none or the one
// it has is about to end. It runs on a goroutine of its own and may take its time, which counts towards the call's deadlines. Its
// error fails the call with one of kind [ErrAuthentication], which has its message.
func WithTokenProvider(provider string, give func() (Credential, error)) Option {
	return func(s *settings) {
		if s.tokens == nil {
			s.tokens = map[string]func() (Credential, error){}
		}
		s.tokens[provider] = give
		s.fields["token_providers"] = slices.Sorted(maps.Keys(s.tokens))
	}
}

// askToken answers in JSON.
func askToken(give func() (Credential, error)) []byte {
	credential, err := guarded(give)
	if err != nil {
		return sayError(err)
	}
	said, _ := json.Marshal(map[string]any{"token": credential.toSay()})
	return said
}

func guarded(give func() (Credential, error)) (credential Credential, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("it panicked: %v", panicked)
		}
	}()
	return give()
}

type tokenToSay struct {
	Secret    any      `json:"secret"`
	ExpiresAt *float64 `json:"expires_at,omitempty"`
}

func (c Credential) toSay() *tokenToSay {
	said := &tokenToSay{Secret: c.Token}
	if c.AWS != nil {
		keys := map[string]string{"access_key_id": c.AWS.AccessKeyID, "secret_access_key": c.AWS.SecretAccessKey}
		if c.AWS.SessionToken != "" {
			keys["session_token"] = c.AWS.SessionToken
		}
		said.Secret = keys
	}
	if !c.ExpiresAt.IsZero() {
		seconds := float64(c.ExpiresAt.UnixMilli()) / 1000
		said.ExpiresAt = &seconds
	}
	return said
}
