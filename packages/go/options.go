package literllm

import (
	"encoding/json"
	"time"
)

// Option sets how a client or one call behaves. Those marked "also a call's" may be given to either.
type Option func(*settings)

// settings are the engine's configuration by its own names, and what Go adds.
type settings struct {
	fields      map[string]any
	accumulator *Accumulator
	hooks       []Hooks
	tokens      map[string]func() (Credential, error)
}

// WithAPIKey sets the key of the client's provider, or else of the first request's. It is never sent to another.
func WithAPIKey(key string) Option { return WithConfig("api_key", key) }

// WithBaseURL sets the base URL of the same provider.
func WithBaseURL(url string) Option { return WithConfig("base_url", url) }

// WithProvider names the provider that key and base URL belong to, and that a model without a prefix is asked of.
func WithProvider(provider string) Option { return WithConfig("provider", provider) }

// WithProviderKey sets a provider's key.
func WithProviderKey(provider, key string) Option { return withEntry("api_keys", provider, key) }

// WithProviderBaseURL sets a provider's base URL.
func WithProviderBaseURL(provider, url string) Option { return withEntry("base_urls", provider, url) }

// WithProviderSettings tells a provider what it needs beside key and address, such as a project or a region.
func WithProviderSettings(provider string, values map[string]string) Option {
	return withEntry("settings", provider, values)
}

// WithHeader adds a header to every request. Also a call's.
func WithHeader(name, value string) Option { return withEntry("headers", name, value) }

// WithConnectTimeout limits the time until a connection takes the request; 0 is no limit. Also a call's.
func WithConnectTimeout(limit time.Duration) Option { return withSeconds("connect_timeout", limit) }

// WithFirstTokenTimeout limits the time from the request to the first token; 0 is no limit. Also a call's.
func WithFirstTokenTimeout(limit time.Duration) Option {
	return withSeconds("first_token_timeout", limit)
}

// WithIdleTimeout limits the time between chunks; 0 is no limit. Also a call's.
func WithIdleTimeout(limit time.Duration) Option { return withSeconds("idle_timeout", limit) }

// WithTimeout limits a whole call, retries included; 0 is no limit. Also a call's.
func WithTimeout(limit time.Duration) Option { return withSeconds("timeout", limit) }

// WithMaxRetries sets how often a failed call is tried again before its first chunk. Also a call's.
func WithMaxRetries(count int) Option { return WithConfig("max_retries", count) }

// WithRetryDelays sets the first wait before a retry, which doubles, and the longest. Also a call's.
func WithRetryDelays(first, longest time.Duration) Option {
	return func(s *settings) {
		withSeconds("retry_base_delay", first)(s)
		withSeconds("retry_max_delay", longest)(s)
	}
}

// WithStreamFallbackMode says how answers that break off are gone on with, unless the request does.
func WithStreamFallbackMode(mode string) Option { return WithConfig("stream_fallback_mode", mode) }

// WithCooldown sets how long a model of a list that failed is asked last, where its provider does not say.
func WithCooldown(wait time.Duration) Option { return withSeconds("cooldown", wait) }

// WithModelWeights chooses the order of a list of models by chance, each weighing as much. A call's only.
func WithModelWeights(weights ...float64) Option {
	return WithConfig("model_weights", append([]float64{}, weights...))
}

// WithStickyKey has the same order chosen each time for the same key, such as a user's or a conversation's. A call's only.
func WithStickyKey(key string) Option { return WithConfig("sticky_key", key) }

// WithCache keeps answers in memory for requests that are exactly the same, at most so many, each so long; 0 is without end.
func WithCache(maxEntries int, ttl time.Duration) Option {
	return WithConfig("cache", map[string]any{"max_entries": maxEntries, "ttl": ttl.Seconds()})
}

// Limit is what may be asked of a provider, or of one of its models; 0 is without limit. Calls wait for their turn, within their deadlines.
type Limit struct {
	Provider string `json:"provider"`
	// Model is as the provider names it; empty: all of them together.
	Model             string `json:"model,omitempty"`
	RequestsPerMinute int64  `json:"requests_per_minute,omitempty"`
	// TokensPerMinute counts prompts and answers together.
	TokensPerMinute int64 `json:"tokens_per_minute,omitempty"`
	// Concurrency is how many calls run at the same time.
	Concurrency int `json:"concurrency,omitempty"`
}

// WithLimits bounds what is asked of providers and models.
func WithLimits(limits ...Limit) Option { return WithConfig("limits", append([]Limit{}, limits...)) }

// WithKeyPool gives a provider several keys, used in turn. One that is refused or rate limited rests while others serve.
func WithKeyPool(provider string, keys ...string) Option {
	return withEntry("key_pools", provider, append([]string{}, keys...))
}

// WithHedgeAfter asks a second model of a list beside the first one where that is silent for so long. The first to speak is heard.
func WithHedgeAfter(silence time.Duration) Option { return withSeconds("hedge_after", silence) }

// WithCallLog writes one event for each call into the log that LITERLLM_LOG shows: model, tokens, cost, seconds and ending.
func WithCallLog() Option { return WithConfig("log_calls", true) }

// WithProxy sets a proxy for everything; an empty one is none. Without it the environment says.
func WithProxy(url string) Option { return WithConfig("proxy", url) }

// WithRootCertificates trusts these certificates, in PEM form, beside the system's.
func WithRootCertificates(pem ...string) Option {
	return WithConfig("root_certificates", append([]string{}, pem...))
}

// WithClientCertificate shows a certificate with its chain, in PEM form.
func WithClientCertificate(certificates, privateKey string) Option {
	return WithConfig("client_certificate", map[string]string{"certificates": certificates, "private_key": privateKey})
}

// WithUserAgent sets the user agent.
func WithUserAgent(agent string) Option { return WithConfig("user_agent", agent) }

// WithHTTP1Only never speaks HTTP/2.
func WithHTTP1Only() Option { return WithConfig("http1_only", true) }

// WithHTTP2Only speaks HTTP/2 without negotiation, also over plain http.
func WithHTTP2Only() Option { return WithConfig("http2_only", true) }

// WithStreamsPerConnection sets how many streams an HTTP/2 connection carries before another is opened.
func WithStreamsPerConnection(count int) Option { return WithConfig("streams_per_connection", count) }

// WithDropUnsupported leaves out what a provider cannot do, rather than refuse the request. Also a call's.
func WithDropUnsupported() Option { return WithConfig("drop_unsupported", true) }

// WithMaxEventBytes limits the largest event or answer that is buffered.
func WithMaxEventBytes(limit int) Option { return WithConfig("max_event_bytes", limit) }

// WithTraceContent puts prompts and answers into traces.
func WithTraceContent() Option { return WithConfig("trace_content", true) }

// WithHost adds an OpenAI-compatible host beside those that the engine knows, such as {"name": "mine", "base_url": "https://…/v1"}.
func WithHost(host map[string]any) Option {
	return func(s *settings) {
		hosts, _ := s.fields["hosts"].([]map[string]any)
		s.fields["hosts"] = append(hosts, host)
	}
}

// WithConfig sets any field of the engine's configuration by its name; the other options are short for it. Also a call's, of the call's fields.
func WithConfig(name string, value any) Option {
	return func(s *settings) { s.fields[name] = value }
}

// WithAccumulator has the accumulator hold the answer, from its first chunk on. A call's only.
func WithAccumulator(accumulator *Accumulator) Option {
	return func(s *settings) { s.accumulator = accumulator }
}

func withSeconds(name string, limit time.Duration) Option {
	return WithConfig(name, limit.Seconds())
}

func withEntry(field, name string, value any) Option {
	return func(s *settings) {
		entries, ok := s.fields[field].(map[string]any)
		if !ok {
			entries = map[string]any{}
			s.fields[field] = entries
		}
		entries[name] = value
	}
}

func settingsOf(options []Option) *settings {
	s := &settings{}
	if len(options) > 0 {
		s.fields = map[string]any{}
	}
	for _, option := range options {
		option(s)
	}
	return s
}

// json is the engine's configuration; nil where nothing was set.
func (s *settings) json() ([]byte, error) {
	if len(s.fields) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(s.fields)
	if err != nil {
		return nil, &Error{Kind: ErrInvalidRequest, Message: "an option is no JSON: " + err.Error()}
	}
	return text, nil
}
