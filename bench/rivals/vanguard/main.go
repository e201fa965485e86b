// Command vanguard is connectrpc.com/vanguard in front of the REST API, put together as its documentation does it: a
// reverse proxy of the standard library, wrapped by a transcoder whose target is REST.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"flag"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"

	"connectrpc.com/vanguard"

	// Registers the schema.
	_ "github.com/allocation-gateway/allocation-gateway/bench/rivals/transcoded"
)

// The largest number of calls in flight that is measured: neither side may be what limits it.
const maxInFlight = 8192

const bufferSize = 32 << 10

// buffers keeps the buffers that the proxy copies bodies with.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if found, is := b.pool.Get().([]byte); is {
		return found
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put(buffer) } //nolint:staticcheck // the interface wants a slice

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where to listen")
	upstream := flag.String("upstream", "", "the URL of the REST API")
	authorities := flag.String("ca", "", "the authorities that vouch for it, PEM")
	flag.Parse()
	target, err := url.Parse(*upstream)
	if err != nil {
		log.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: maxInFlight, DisableCompression: true}
	if *authorities != "" {
		text, err := os.ReadFile(*authorities)
		if err != nil {
			log.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	proxy := &httputil.ReverseProxy{
		Transport:  transport,
		BufferPool: &buffers{},
		Rewrite: func(call *httputil.ProxyRequest) {
			call.SetURL(target)
			call.Out.Header.Set("x-api-key", "bench")
			call.Out.Header.Set("x-api-version", "1.1")
		},
	}
	service := vanguard.NewService("/allocation.v1.ShipmentAllocationService/", proxy,
		vanguard.WithTargetProtocols(vanguard.ProtocolREST), vanguard.WithTargetCodecs(vanguard.CodecJSON))
	handler, err := vanguard.NewTranscoder([]*vanguard.Service{service})
	if err != nil {
		log.Fatal(err)
	}
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{
		Addr: *address, Handler: handler, Protocols: protocols,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxInFlight},
	}
	log.Fatal(server.ListenAndServe())
}
