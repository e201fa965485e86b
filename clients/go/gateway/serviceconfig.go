package gateway

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// serviceConfig is what the service configuration says, as far as a client has to know it before gRPC does.
type serviceConfig struct {
	timeouts   map[string]time.Duration
	maxTokens  float64
	tokenRatio float64
	// ofChannel is the text for gRPC. It has no time-outs, which would end a call before the deadline of its context; its
	// caller sets them.
	ofChannel string
}

func parseServiceConfig(text string) (*serviceConfig, error) {
	var read struct {
		RetryThrottling struct {
			MaxTokens  float64
			TokenRatio float64
		}
		MethodConfig []struct {
			Name    []struct{ Service, Method string }
			Timeout string
		}
	}
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		return nil, fmt.Errorf("service configuration: %w", err)
	}
	ofChannel, err := withoutTimeouts(text)
	if err != nil {
		return nil, fmt.Errorf("service configuration: %w", err)
	}
	made := &serviceConfig{
		map[string]time.Duration{}, read.RetryThrottling.MaxTokens, read.RetryThrottling.TokenRatio, ofChannel,
	}
	for _, method := range read.MethodConfig {
		if method.Timeout == "" {
			continue // a call that lasts
		}
		timeout, err := time.ParseDuration(method.Timeout)
		if err != nil {
			return nil, fmt.Errorf("service configuration: %w", err)
		}
		for _, name := range method.Name {
			made.timeouts["/"+name.Service+"/"+name.Method] = timeout
		}
	}
	return made, nil
}

func withoutTimeouts(text string) (string, error) {
	var config map[string]any
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		return "", err
	}
	methods, _ := config["methodConfig"].([]any)
	for _, method := range methods {
		if fields, ok := method.(map[string]any); ok {
			delete(fields, "timeout")
		}
	}
	made, err := json.Marshal(config)
	return string(made), err
}

// budget is what a client may spend on repetitions, as gRPC has it: none while no more than half of it is left.
type budget struct {
	mutex sync.Mutex
	left  float64
	most  float64
	ratio float64
}

func newBudget(config *serviceConfig) *budget {
	return &budget{left: config.maxTokens, most: config.maxTokens, ratio: config.tokenRatio}
}

// earn counts a success.
func (b *budget) earn() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.left = min(b.left+b.ratio, b.most)
}

// spend counts a failure, and returns whether the call may be repeated.
func (b *budget) spend() bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.left = max(b.left-1, 0)
	return b.left > b.most/2
}
