// Package measure measures a Go client, the server being another process. Each client is a program of its own, so that it carries nothing of
// another's: PROGRAM CLIENT cpu|first|added BASE_URL STREAMS.
//
// It prints what scripts/bench.d/go reads. cpu: microseconds of CPU a chunk, peak memory in MiB. first: microseconds until the first chunk
// with text. added: microseconds from the moment at which the mock wrote a chunk, which its text says behind its number, until the client has it.
package measure

import (
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Prompt is what every client asks.
const Prompt = "Tell me a story about a lighthouse"

// Seen is what a client saw of a stream.
type Seen struct {
	chunks, text int
	first        time.Time
}

// delays is how long chunks took that carry the time at which they were written; nil where that is not measured.
var delays *[]float64

// Chunk sees a chunk.
func (s *Seen) Chunk(text string) {
	if delays != nil {
		if words := strings.Fields(text); len(words) == 2 {
			written, err := strconv.ParseInt(words[1], 10, 64)
			Check(err)
			*delays = append(*delays, float64(monotonic()-written)/1e3)
		}
	}
	s.chunks++
	s.text += len(text)
	if text != "" && s.first.IsZero() {
		s.first = time.Now()
	}
}

// Main measures what the arguments say, of the client that of makes for its name and a base URL.
func Main(of func(name, url string) (stream func() Seen)) {
	streams, err := strconv.Atoi(os.Args[4])
	Check(err)
	stream := of(os.Args[1], os.Args[3])
	switch os.Args[2] {
	case "cpu":
		stream()
		stream()
		before, chunks := cpu(), 0
		for range streams {
			chunks += stream().chunks
		}
		fmt.Printf("%.4f %.2f\n", float64((cpu()-before).Nanoseconds())/1e3/float64(chunks), peakMemory())
	case "first":
		var times []float64
		for i := range streams + 10 {
			began := time.Now()
			first := stream().first.Sub(began)
			if i >= 10 {
				times = append(times, float64(first.Nanoseconds())/1e3)
			}
		}
		fmt.Printf("%.1f\n", median(times))
	case "added":
		delays = &[]float64{}
		for range streams {
			stream()
		}
		fmt.Printf("%.1f\n", median(*delays))
	}
}

func median(numbers []float64) float64 {
	sort.Float64s(numbers)
	return numbers[len(numbers)/2]
}

// monotonic is the system's monotonic clock, which is the same in every process.
func monotonic() int64 {
	const clockMonotonic = 1
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0)
	return now.Nano()
}

func cpu() time.Duration {
	var usage syscall.Rusage
	Check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakMemory is the most memory this process held, in MiB; 0 where the system does not say.
func peakMemory() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseFloat(fields[0], 64)
	return kib / 1024
}

// Check ends the program where there is an error.
func Check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
