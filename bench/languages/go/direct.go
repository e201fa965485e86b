package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/shopspring/decimal"
)

const (
	whole   = time.Minute
	attempt = 20 * time.Second
	// What upstream may take to show that a request was carried out after its answer was lost.
	settling = 10 * time.Second
)

var errUnknown = errors.New("it is not known whether the shipment was allocated")

type shipment struct {
	allocation
	State string `json:"state"`
	// Where it is in an answer that was read.
	Allocation allocation `json:"allocation"`
}

type allocation struct {
	Carrier struct {
		Name string `json:"name"`
	} `json:"carrier"`
	Price struct {
		Gross json.Number `json:"gross"`
	} `json:"price"`
}

// directly calls the REST API. It repeats what is safe to repeat, and reads how the shipment stands where an answer was lost.
func directly(address string) (allocate, error) {
	client := &http.Client{Timeout: attempt, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	send := func(ctx context.Context, method, path string) (*shipment, int, time.Duration, error) {
		request, err := http.NewRequestWithContext(ctx, method, address+path, nil)
		if err != nil {
			return nil, 0, 0, err
		}
		request.Header.Set("x-api-key", "sandbox-key")
		request.Header.Set("x-api-version", "1.1")
		answer, err := client.Do(request)
		if err != nil {
			return nil, 0, 0, err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return nil, 0, 0, err
		}
		after, _ := strconv.Atoi(answer.Header.Get("Retry-After"))
		read := &shipment{}
		if answer.StatusCode == http.StatusOK {
			err = json.Unmarshal(body, read)
		}
		return read, answer.StatusCode, time.Duration(after) * time.Second, err
	}
	return func(ctx context.Context, reference, group string) (string, decimal.Decimal, error) {
		ctx, cancel := context.WithTimeout(ctx, whole)
		defer cancel()
		reading := "/shipments/" + url.PathEscape(reference)
		var inDoubt bool
		var sent time.Time
		for pause := 100 * time.Millisecond; ; pause = min(pause*2, 5*time.Second) {
			method, path := http.MethodPut, reading+"/allocate/service_group/"+url.PathEscape(group)
			if inDoubt {
				method, path = http.MethodGet, reading
			} else {
				sent = time.Now()
			}
			read, status, after, err := send(ctx, method, path)
			switch {
			case err == nil && status == http.StatusOK && (!inDoubt || read.State == "allocated"):
				found := read.allocation
				if inDoubt {
					found = read.Allocation
				}
				gross, err := decimal.NewFromString(found.Price.Gross.String())
				return found.Carrier.Name, gross, err
			case inDoubt:
				// Whoever has allocated it, nobody can tell; that it is not allocated is believed in the end.
				inDoubt = !(err == nil && status == http.StatusOK && time.Since(sent) > settling)
			case err != nil || status >= http.StatusInternalServerError:
				inDoubt = true
			case status != http.StatusTooManyRequests:
				return "", decimal.Zero, fmt.Errorf("upstream refused it with %d", status)
			}
			select {
			case <-time.After(max(pause/2+rand.N(pause), after)):
			case <-ctx.Done():
				if inDoubt {
					return "", decimal.Zero, errUnknown
				}
				return "", decimal.Zero, ctx.Err()
			}
		}
	}, nil
}
