// Command upstream is the REST API of the benchmark: it answers with a prepared body, after a delay, for next to nothing.
//
// The body names the shipment that the request was for, since gateways check that. A second port tells how many
// connections are open and how many requests wait for their answer, and takes whatever telemetry is sent to it.
package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

const maxBodySize = 1 << 20

var (
	sockets   atomic.Int64
	inService atomic.Int64
	requests  atomic.Int64
)

// answer is a prepared response with the places of the shipment's reference in it.
type answer struct {
	text   []byte
	places []int
	length int
}

func prepare(status int, body []byte, reference string) answer {
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		status, http.StatusText(status), len(body))
	made := answer{text: append([]byte(head), body...), length: len(reference)}
	for from := 0; reference != ""; {
		at := bytes.Index(made.text[from:], []byte(reference))
		if at < 0 {
			break
		}
		made.places = append(made.places, from+at)
		from += at + len(reference)
	}
	return made
}

// appendFor appends the response to the request for a shipment.
func (a answer) appendFor(out, reference []byte) []byte {
	start := len(out)
	out = append(out, a.text...)
	if len(reference) == a.length {
		for _, at := range a.places {
			copy(out[start+at:], reference)
		}
	}
	return out
}

// bulk appends the response that queues all the shipments of a request. They are the only array in it.
func bulk(out, body []byte) []byte {
	from, to := bytes.IndexByte(body, '['), bytes.IndexByte(body, ']')
	queued := []byte("[]")
	if from >= 0 && to > from {
		queued = body[from : to+1]
	}
	const before, after = `{"message":"Shipments queued for allocation successfully.","queued":`, `,"rejected":[],"_links":[]}`
	out = append(out, "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(before)+len(queued)+len(after)), 10)
	out = append(out, "\r\n\r\n"...)
	out = append(out, before...)
	out = append(out, queued...)
	return append(out, after...)
}

type request struct {
	reference []byte
	isBulk    bool
	body      []byte
}

var (
	errMalformed = errors.New("not a request that this upstream understands")
	shipments    = []byte("/shipments/")
	bulkSegment  = []byte("allocate")
)

// read reads one request; what it returns is valid until the next one is read.
func read(in *bufio.Reader, body []byte) (request, error) {
	var found request
	line, err := in.ReadSlice('\n')
	if err != nil {
		return found, err
	}
	at := bytes.Index(line, shipments)
	if at < 0 {
		return found, errMalformed
	}
	rest := line[at+len(shipments):]
	end := bytes.IndexAny(rest, "/ ")
	if end < 0 {
		return found, errMalformed
	}
	found.isBulk = bytes.Equal(rest[:end], bulkSegment)
	// Copied: the line is gone with the next read.
	found.reference = append(body[:0], rest[:end]...)
	length, chunked := 0, false
	for {
		header, err := in.ReadSlice('\n')
		if err != nil {
			return found, err
		}
		header = bytes.TrimRight(header, "\r\n")
		if len(header) == 0 {
			break
		}
		if value, is := valueOf(header, "content-length:"); is {
			if length, err = strconv.Atoi(string(value)); err != nil || length > maxBodySize {
				return found, errMalformed
			}
		} else if value, is := valueOf(header, "transfer-encoding:"); is {
			chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	if chunked {
		found.body, err = readChunks(in)
	} else if length > 0 {
		found.body = make([]byte, length)
		_, err = io.ReadFull(in, found.body)
	}
	return found, err
}

func valueOf(header []byte, name string) ([]byte, bool) {
	if len(header) < len(name) || !bytes.EqualFold(header[:len(name)], []byte(name)) {
		return nil, false
	}
	return bytes.TrimSpace(header[len(name):]), true
}

func readChunks(in *bufio.Reader) ([]byte, error) {
	var body []byte
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 31)
		if err != nil || len(body)+int(size) > maxBodySize {
			return nil, errMalformed
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		if size == 0 {
			return body, nil
		}
		body = append(body, chunk[:size]...)
	}
}

func serve(connection net.Conn, single answer, delay time.Duration) {
	sockets.Add(1)
	defer sockets.Add(-1)
	defer connection.Close()
	in := bufio.NewReaderSize(connection, 4<<10)
	var out, scratch []byte
	for {
		found, err := read(in, scratch)
		if err != nil {
			if errors.Is(err, errMalformed) {
				log.Print(err)
			}
			return
		}
		scratch = found.reference
		inService.Add(1)
		requests.Add(1)
		if delay > 0 {
			time.Sleep(delay)
		}
		if found.isBulk {
			out = bulk(out[:0], found.body)
		} else {
			out = single.appendFor(out[:0], found.reference)
		}
		_, err = connection.Write(out)
		inService.Add(-1)
		if err != nil {
			return
		}
	}
}

func control(listener net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(out http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(out).Encode(map[string]int64{
			"sockets": sockets.Load(), "in_service": inService.Load(), "requests": requests.Load(),
		})
	})
	mux.HandleFunc("POST /v1/", func(out http.ResponseWriter, in *http.Request) {
		_, _ = io.Copy(io.Discard, io.LimitReader(in.Body, maxBodySize))
		out.Header().Set("Content-Type", "application/x-protobuf")
	})
	log.Fatal(http.Serve(listener, mux))
}

func listen(address string) net.Listener {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where the REST API is served")
	controlAddress := flag.String("control", "127.0.0.1:0", "where the counts are served and telemetry is taken")
	delay := flag.Duration("delay", 0, "how long each answer takes")
	status := flag.Int("status", 200, "the status of the answer to a request for one shipment")
	file := flag.String("body", "", "the file with the body of that answer")
	reference := flag.String("reference", "", "the reference in that body that stands for the shipment's own")
	certificate := flag.String("certificate", "", "serve TLS, and write the certificate to trust to this file, PEM")
	flag.Parse()

	body, err := os.ReadFile(*file)
	if err != nil {
		log.Fatal(err)
	}
	single := prepare(*status, body, *reference)
	var configuration *tls.Config
	if *certificate != "" {
		pair, err := selfSigned(*certificate)
		if err != nil {
			log.Fatal(err)
		}
		configuration = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	listener, controlListener := listen(*address), listen(*controlAddress)
	if configuration != nil {
		listener = tls.NewListener(listener, configuration)
	}
	go control(controlListener)
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(connection, single, *delay)
	}
}
