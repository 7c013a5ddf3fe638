//go:build !linux

package literllm

import "time"

// sleep returns once something may have rung.
func sleep() {
	if !fallAsleep() {
		return
	}
	var bytes [64]byte
	if _, err := bell.pipe.Read(bytes[:]); err != nil {
		// Somebody has closed what was not theirs: it goes on, slowly.
		time.Sleep(time.Millisecond)
	}
}
