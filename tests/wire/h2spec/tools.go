//go:build tools

// Package h2spec pins the conformance suite that the tests of the gRPC server run.
package h2spec

import _ "github.com/summerwind/h2spec/cmd/h2spec"
