package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// beside is another program that loads the broker through the same rounds. It says `loaded` on its stdout once it does,
// is told of each kill on its stdin (when it was, in Unix milliseconds), ends its load when that is closed, and judges
// by itself: its exit status is its verdict. None, which is nil, is loaded and content.
type beside struct {
	in     io.WriteCloser
	loaded chan struct{}
	done   chan struct{}
	status error
}

// startBeside starts the program, if there is one; `ended` hears when it ends, however it does.
func startBeside(command []string, ended func(error)) (*beside, error) {
	if len(command) == 0 {
		return nil, nil
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &beside{in: in, loaded: make(chan struct{}), done: make(chan struct{})}
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Println(lines.Text())
			if strings.TrimSpace(lines.Text()) == "loaded" {
				close(s.loaded)
			}
		}
		s.status = cmd.Wait()
		ended(s.status)
		close(s.done)
	}()
	return s, nil
}

func (s *beside) awaitLoaded() error {
	if s == nil {
		return nil
	}
	select {
	case <-s.loaded:
		return nil
	case <-s.done:
		return fmt.Errorf("the load beside ended before it ran: %v", s.status)
	case <-time.After(readyLimit):
		return fmt.Errorf("the load beside did not run after %v", readyLimit)
	}
}

// killed tells of a kill. A program that ended hears nothing, and was heard of.
func (s *beside) killed() {
	if s != nil {
		fmt.Fprintln(s.in, time.Now().UnixMilli())
	}
}

// stop ends the load; the verdict comes later.
func (s *beside) stop() {
	if s != nil {
		_ = s.in.Close()
	}
}

func (s *beside) verdict() error {
	if s == nil {
		return nil
	}
	select {
	case <-s.done:
		if s.status != nil {
			return fmt.Errorf("the load beside: %v", s.status)
		}
		return nil
	case <-time.After(2 * readyLimit):
		return fmt.Errorf("the load beside did not end after %v", 2*readyLimit)
	}
}
