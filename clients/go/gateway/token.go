package gateway

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

const tokenCheck = time.Second

// What else would be is no value of a header.
var tokenText = regexp.MustCompile(`^[\x21-\x7e]+$`)

// token is a bearer token in a file that may be replaced at any time, as Kubernetes does with projected tokens.
type token struct {
	file  string
	every time.Duration

	mutex  sync.Mutex
	text   string
	readAt time.Time
}

func openToken(file string) (*token, error) {
	made := &token{file: file, every: tokenCheck}
	text, err := made.read()
	if err != nil {
		return nil, err
	}
	made.text, made.readAt = text, time.Now()
	return made, nil
}

func (t *token) read() (string, error) {
	content, err := os.ReadFile(t.file)
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(content))
	if !tokenText.MatchString(text) {
		return "", fmt.Errorf("the token file %s is empty, or is not a token", t.file)
	}
	return text, nil
}

// current returns the token of at most a second ago; the one before it while the file cannot be read or holds none.
func (t *token) current() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if now := time.Now(); now.Sub(t.readAt) >= t.every {
		t.readAt = now
		if text, err := t.read(); err == nil {
			t.text = text
		}
	}
	return t.text
}
