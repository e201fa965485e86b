package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	settingMaxStreams = 0x3
	settingWindow     = 0x4

	frameHead     = 9
	initialWindow = 65_535
	largestWindow = 1<<31 - 1
	replenishAt   = 1 << 29
	shortestPlace = 8
	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

	// Statuses that no server sends: the stream was reset, or the answer does not name its shipment.
	statusReset = -1
	statusWrong = -2
)

// call is one that was begun: when it should have been, and the number that makes it unlike all others.
type call struct {
	intended int64
	number   uint64
	echoed   bool
	status   int
}

// connection speaks as much HTTP/2 as calls take, with frames that are made in advance. It holds the calls in flight.
type connection struct {
	socket   net.Conn
	request  *request
	finished func(c *connection, done call)

	lock       sync.Mutex
	out        []byte
	begun      map[uint32]*call
	waiting    []call
	nextStream uint32
	window     int
	maxStreams int
	indexed    bool
	latencies  histogram
	statuses   map[int]uint64

	received int
	ready    chan struct{}
	inFlight atomic.Int64
}

func dial(address string, security *tls.Config, template *request, finished func(*connection, call)) (*connection, error) {
	socket, err := net.Dial("tcp", address)
	if err == nil && security != nil {
		encrypted := tls.Client(socket, security)
		socket, err = encrypted, encrypted.Handshake()
	}
	if err != nil {
		return nil, err
	}
	c := &connection{
		socket: socket, request: template, finished: finished, begun: map[uint32]*call{}, nextStream: 1,
		window: initialWindow, maxStreams: 100, statuses: map[int]uint64{}, ready: make(chan struct{}),
	}
	opening := []byte(preface)
	opening = appendHead(opening, 6, frameSettings, 0, 0)
	opening = binary.BigEndian.AppendUint16(opening, settingWindow)
	opening = binary.BigEndian.AppendUint32(opening, largestWindow)
	opening = appendHead(opening, 4, frameWindowUpdate, 0, 0)
	opening = binary.BigEndian.AppendUint32(opening, largestWindow-initialWindow)
	if _, err = socket.Write(opening); err != nil {
		return nil, err
	}
	return c, nil
}

func appendHead(out []byte, length int, kind, flags byte, stream uint32) []byte {
	out = append(out, byte(length>>16), byte(length>>8), byte(length), kind, flags)
	return binary.BigEndian.AppendUint32(out, stream)
}

// begin makes a call, or lets it wait until the server takes another one. The lock must be held.
func (c *connection) begin(next call) {
	c.inFlight.Add(1)
	if len(c.waiting) > 0 || !c.send(next) {
		c.waiting = append(c.waiting, next)
	}
}

func (c *connection) send(next call) bool {
	if len(c.begun) >= c.maxStreams || c.window < len(c.request.message) {
		return false
	}
	// Later requests refer to the headers of the first one, as real clients let them.
	headers := c.request.laterHeaders
	if !c.indexed {
		headers, c.indexed = c.request.firstHeaders, true
	}
	c.out = appendHead(c.out, len(headers), frameHeaders, flagEndHeaders, c.nextStream)
	c.out = append(c.out, headers...)
	c.out = appendHead(c.out, len(c.request.message), frameData, flagEndStream, c.nextStream)
	c.out = c.request.appendMessage(c.out, next.number)
	c.window -= len(c.request.message)
	started := next
	c.begun[c.nextStream] = &started
	c.nextStream += 2
	return true
}

func (c *connection) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.socket.Write(c.out)
	c.out = c.out[:0]
	return err
}

// run reads until the connection ends. What it causes to be sent goes out together, just before it has to wait.
func (c *connection) run() error {
	in := bufio.NewReaderSize(c.socket, 64<<10)
	var block []byte
	var current *call
	var endsStream bool
	decoder := hpack.NewDecoder(4096, func(field hpack.HeaderField) {
		if field.Name == "grpc-status" && current != nil {
			current.status, _ = strconv.Atoi(field.Value)
		}
	})
	payload := make([]byte, 0, 64<<10)
	for {
		if err := c.flushBefore(in, frameHead); err != nil {
			return err
		}
		head, err := in.Peek(frameHead)
		if err != nil {
			return err
		}
		length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])&(1<<31-1)
		_, _ = in.Discard(frameHead)
		if err := c.flushBefore(in, length); err != nil {
			return err
		}
		if cap(payload) < length {
			payload = make([]byte, 0, length)
		}
		payload = payload[:length]
		if _, err := io.ReadFull(in, payload); err != nil {
			return err
		}
		switch kind {
		case frameData:
			c.take(stream, payload, flags)
		case frameHeaders, frameContinuation:
			if kind == frameHeaders {
				block = append(block[:0], content(payload, flags)...)
				c.lock.Lock()
				current, endsStream = c.begun[stream], flags&flagEndStream != 0
				c.lock.Unlock()
			} else {
				block = append(block, payload...)
			}
			if flags&flagEndHeaders == 0 {
				continue
			}
			if _, err := decoder.Write(block); err != nil {
				return fmt.Errorf("headers: %w", err)
			}
			if endsStream {
				c.end(stream)
			}
		case frameReset:
			c.lock.Lock()
			if reset := c.begun[stream]; reset != nil {
				reset.status = statusReset
			}
			c.lock.Unlock()
			c.end(stream)
		case frameGoAway:
			return errors.New("the gateway sends its clients away")
		default:
			c.control(kind, flags, stream, payload)
		}
	}
}

func (c *connection) flushBefore(in *bufio.Reader, needed int) error {
	if in.Buffered() >= needed {
		return nil
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	return c.flush()
}

func (c *connection) take(stream uint32, payload []byte, flags byte) {
	c.received += len(payload)
	c.lock.Lock()
	if c.received > replenishAt {
		c.out = appendHead(c.out, 4, frameWindowUpdate, 0, 0)
		c.out = binary.BigEndian.AppendUint32(c.out, uint32(c.received))
		c.received = 0
	}
	taken := c.begun[stream]
	c.lock.Unlock()
	if taken != nil && !taken.echoed {
		taken.echoed = c.request.isEchoed(payload, taken.number)
	}
	if flags&flagEndStream != 0 {
		c.end(stream)
	}
}

func (c *connection) end(stream uint32) {
	c.lock.Lock()
	defer c.lock.Unlock()
	done := c.begun[stream]
	if done == nil {
		return
	}
	delete(c.begun, stream)
	if done.status == 0 && !done.echoed {
		done.status = statusWrong
	}
	c.inFlight.Add(-1)
	c.finished(c, *done)
	c.resume()
}

func (c *connection) resume() {
	for len(c.waiting) > 0 && c.send(c.waiting[0]) {
		c.waiting = c.waiting[1:]
	}
}

func (c *connection) control(kind, flags byte, stream uint32, payload []byte) {
	c.lock.Lock()
	defer c.lock.Unlock()
	switch {
	case kind == frameSettings && flags&flagAck == 0:
		for ; len(payload) >= 6; payload = payload[6:] {
			if binary.BigEndian.Uint16(payload) == settingMaxStreams {
				c.maxStreams = int(min(binary.BigEndian.Uint32(payload[2:]), 1<<20))
			}
		}
		c.out = appendHead(c.out, 0, frameSettings, flagAck, 0)
		select {
		case <-c.ready:
		default:
			close(c.ready)
		}
	case kind == framePing && flags&flagAck == 0:
		c.out = appendHead(c.out, len(payload), framePing, flagAck, 0)
		c.out = append(c.out, payload...)
	case kind == frameWindowUpdate && stream == 0 && len(payload) == 4:
		c.window += int(binary.BigEndian.Uint32(payload))
		c.resume()
	}
}

// content returns a payload without padding and priority.
func content(payload []byte, flags byte) []byte {
	if flags&flagPadded != 0 {
		payload = payload[1 : len(payload)-int(payload[0])]
	}
	if flags&flagPriority != 0 {
		payload = payload[5:]
	}
	return payload
}

// request is what all calls send, with places that each of them fills with digits of its own.
type request struct {
	firstHeaders, laterHeaders, message []byte

	places []int
	digits int
	echoes bool
}

// newRequest prepares the calls of a method. Each long run of `#` in the message is a place; all are as long as each other.
func newRequest(scheme, authority, method string, metadata [][2]string, message []byte) *request {
	made := &request{message: append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)}
	for at := 0; at < len(made.message); at++ {
		run := len(made.message[at:]) - len(bytes.TrimLeft(made.message[at:], "#"))
		// A shorter one can be the length of a field.
		if run >= shortestPlace {
			made.places, made.digits = append(made.places, at), run
		}
		at += run
	}
	made.echoes = len(made.places) > 0
	var buffer bytes.Buffer
	encoder := hpack.NewEncoder(&buffer)
	for _, block := range []*[]byte{&made.firstHeaders, &made.laterHeaders} {
		buffer.Reset()
		for _, field := range append([][2]string{
			{":method", "POST"}, {":scheme", scheme}, {":path", method}, {":authority", authority}, {"te", "trailers"},
			{"content-type", "application/grpc"}, {"user-agent", "bench/1"}, {"grpc-timeout", timeout},
		}, metadata...) {
			_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		*block = bytes.Clone(buffer.Bytes())
	}
	return made
}

func (r *request) appendMessage(out []byte, number uint64) []byte {
	start := len(out)
	out = append(out, r.message...)
	for index, at := range r.places {
		r.write(out[start+at:start+at+r.digits], number, index)
	}
	return out
}

func (r *request) write(place []byte, number uint64, index int) {
	number = number*uint64(len(r.places)) + uint64(index)
	for at := len(place) - 1; at >= 0; at-- {
		place[at] = '0' + byte(number%10)
		number /= 10
	}
}

// isEchoed tells whether an answer names what the first place of its request was filled with.
func (r *request) isEchoed(payload []byte, number uint64) bool {
	if !r.echoes {
		return true
	}
	var wanted [32]byte
	r.write(wanted[:r.digits], number, 0)
	return bytes.Contains(payload, wanted[:r.digits])
}

func now() int64 { return int64(time.Since(started)) }

var started = time.Now()
