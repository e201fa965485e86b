package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
)

// clientTLS returns how connections are encrypted, with a certificate of the client's own if there is one; nil, if there
// are no authorities to trust.
func clientTLS(authorities, certificate, key string) (*tls.Config, error) {
	if authorities == "" {
		return nil, nil
	}
	text, err := os.ReadFile(authorities)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(text) {
		return nil, errors.New("there is no certificate in " + authorities)
	}
	made := &tls.Config{RootCAs: trusted, ServerName: "localhost", NextProtos: []string{"h2"}}
	if certificate != "" {
		own, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		made.Certificates = []tls.Certificate{own}
	}
	return made, nil
}

// bearer returns the metadata that carries a token; none, without a file.
func bearer(file string) ([][2]string, error) {
	if file == "" {
		return nil, nil
	}
	token, err := os.ReadFile(file)
	return [][2]string{{"authorization", "Bearer " + strings.TrimSpace(string(token))}}, err
}
