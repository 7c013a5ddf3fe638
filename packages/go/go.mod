module github.com/kreuzberg-dev/liter-llm/packages/go

go 1.23
