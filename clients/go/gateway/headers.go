package gateway

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/grpc/metadata"
)

const binarySuffix = "-bin"

var (
	headerName  = regexp.MustCompile(`^[0-9a-z_.-]+$`)
	headerValue = regexp.MustCompile(`^[\x20-\x7e]*$`)
)

// headers returns metadata with its names as they are sent, so that they are compared without case. It fails if something of it
// cannot be sent.
func headers(given map[string]string) (map[string]string, error) {
	made := make(map[string]string, len(given))
	for name, value := range given {
		lower := strings.ToLower(name)
		if _, twice := made[lower]; twice {
			return nil, fmt.Errorf("metadata names %s twice", lower)
		}
		if err := checkHeader(lower, value); err != nil {
			return nil, err
		}
		made[lower] = value
	}
	return made, nil
}

// checkHeader fails if gRPC would not send this. It would say so by a status that a lost connection has too.
func checkHeader(name, value string) error {
	if !headerName.MatchString(name) {
		return fmt.Errorf("metadata has the name %q, which cannot be sent", name)
	}
	if !strings.HasSuffix(name, binarySuffix) && !headerValue.MatchString(value) {
		return fmt.Errorf("the value of %s has to be printable ASCII", name)
	}
	return nil
}

func checkHeaders(sent metadata.MD) error {
	for name, values := range sent {
		for _, value := range values {
			if err := checkHeader(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}
