package gateway

import (
	"crypto/tls"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// DefaultTimeout is how long a write may take with all its repetitions if its context has no deadline.
const DefaultTimeout = 60 * time.Second

const (
	userAgent        = "allocation-gateway-client-go"
	keepaliveTime    = 60 * time.Second
	keepaliveTimeout = 20 * time.Second
	// A gateway that was restarted is found again within seconds. gRPC alone would wait for up to two minutes.
	firstReconnect   = 100 * time.Millisecond
	longestReconnect = 5 * time.Second
	connectTimeout   = 5 * time.Second
	// Answers with labels are the largest there are.
	largestAnswer = 32 << 20
)

// Option sets something of a client.
type Option func(*settings)

type settings struct {
	tls           *tls.Config
	plaintext     bool
	tokenFile     string
	account       string
	metadata      map[string]string
	timeout       time.Duration
	serviceConfig string
	dial          []grpc.DialOption
}

// WithTLS does TLS as a configuration says: with authorities of one's own, or certificates for mutual TLS, which are renewed
// by its GetClientCertificate.
func WithTLS(config *tls.Config) Option { return func(s *settings) { s.tls = config } }

// WithPlaintext does without TLS: for the sandbox, or where a mesh does it.
func WithPlaintext() Option { return func(s *settings) { s.plaintext = true } }

// WithTokenFile sends the bearer token in a file, which is read again within a second of being replaced. A call with
// `authorization` in its own metadata, or in that of WithMetadata, is sent with that instead.
func WithTokenFile(file string) Option { return func(s *settings) { s.tokenFile = file } }

// WithAccount says which account of the gateway calls are for. InAccount says it of a single call; without either the gateway
// chooses.
func WithAccount(name string) Option { return func(s *settings) { s.account = name } }

// WithMetadata sends metadata with each call. Names count without case. Metadata of a single call goes into its context, as
// with any client of gRPC.
func WithMetadata(metadata map[string]string) Option {
	return func(s *settings) { s.metadata = metadata }
}

// WithTimeout says how long a call may take with all its repetitions if its context has no deadline.
func WithTimeout(timeout time.Duration) Option { return func(s *settings) { s.timeout = timeout } }

// WithServiceConfig replaces ServiceConfig by another text. It has to name a time-out for every rpc.
func WithServiceConfig(text string) Option { return func(s *settings) { s.serviceConfig = text } }

// WithDialOptions adds options of gRPC's, such as a stats handler of OpenTelemetry. An interceptor of
// grpc.WithChainUnaryInterceptor sees each attempt of a write, and one of grpc.WithUnaryInterceptor each call, before it has a
// request_id.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dial = append(s.dial, options...) }
}

func newSettings(options []Option) (*settings, error) {
	made := &settings{timeout: DefaultTimeout, serviceConfig: ServiceConfig}
	for _, option := range options {
		option(made)
	}
	if made.plaintext && (made.tls != nil || made.tokenFile != "") {
		return nil, errors.New("plaintext goes neither with TLS nor with a token: it could be read on its way")
	}
	var err error
	if made.metadata, err = headers(made.metadata); err != nil {
		return nil, err
	}
	return made, checkHeader(accountKey, made.account)
}

func (s *settings) caller() (*caller, error) {
	config, err := parseServiceConfig(s.serviceConfig)
	if err != nil {
		return nil, err
	}
	made := &caller{settings: s, config: config, budget: newBudget(config), closed: make(chan struct{})}
	if s.tokenFile != "" {
		if made.token, err = openToken(s.tokenFile); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// dialOptions has gRPC's options of the user's come last, so that they win. Interceptors are added up: the user's are between
// those of the client and the network.
func (s *settings) dialOptions(caller *caller) []grpc.DialOption {
	secured := insecure.NewCredentials()
	if !s.plaintext {
		secured = credentials.NewTLS(s.tls)
	}
	reconnect := backoff.DefaultConfig
	reconnect.BaseDelay, reconnect.MaxDelay = firstReconnect, longestReconnect
	return append([]grpc.DialOption{
		grpc.WithTransportCredentials(secured),
		grpc.WithDefaultServiceConfig(caller.config.ofChannel),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent(userAgent),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largestAnswer)),
		// Not WithUnaryInterceptor, of which there is only one: that of the user would take its place.
		grpc.WithChainUnaryInterceptor(caller.call),
		grpc.WithChainStreamInterceptor(caller.stream),
	}, s.dial...)
}
