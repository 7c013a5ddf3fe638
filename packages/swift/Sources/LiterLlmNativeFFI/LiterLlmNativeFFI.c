// SwiftPM builds a C target of at least one file; the symbols are in libliterllm_uniffi.
