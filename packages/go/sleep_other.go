//go:build !linux

package literllm

import "os"

func newBell() (hear, ring *os.File, err error) { return os.Pipe() }

// sleep returns once something may have rung.
func sleep() error {
	if !fallAsleep() {
		return nil
	}
	var bytes [64]byte
	_, err := bell.hear.Read(bytes[:])
	return err
}
