// Command responder answers gRPC calls with their own request, by frames that are made in advance: what load costs
// beside it is what load costs.
package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"net"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const maxStreams = 4096

// block encodes headers without a reference to any before them, so that every stream can use the same bytes.
func block(fields ...[2]string) []byte {
	var buffer bytes.Buffer
	encoder := hpack.NewEncoder(&buffer)
	for _, field := range fields {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true})
	}
	return buffer.Bytes()
}

var (
	opening  = block([2]string{":status", "200"}, [2]string{"content-type", "application/grpc"})
	trailers = block([2]string{"grpc-status", "0"})
)

func serve(connection net.Conn) error {
	defer connection.Close()
	in, out := bufio.NewReaderSize(connection, 64<<10), bufio.NewWriterSize(connection, 64<<10)
	if _, err := io.ReadFull(in, make([]byte, len(http2.ClientPreface))); err != nil {
		return err
	}
	framer := http2.NewFramer(out, in)
	framer.SetReuseFrames()
	if err := framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams}); err != nil {
		return err
	}
	received := 0
	for {
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return err
			}
		}
		frame, err := framer.ReadFrame()
		if err != nil {
			return err
		}
		switch frame := frame.(type) {
		case *http2.DataFrame:
			// The framer's errors are those of its writer, and its next flush tells them.
			id := frame.StreamID
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: opening, EndHeaders: true})
			_ = framer.WriteData(id, false, frame.Data())
			_ = framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: trailers, EndHeaders: true, EndStream: true,
			})
			if received += len(frame.Data()); received > 1<<14 {
				_ = framer.WriteWindowUpdate(0, uint32(received))
				received = 0
			}
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		}
	}
}

func main() {
	address := flag.String("listen", "127.0.0.1:0", "where it listens")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"address\":%q}\n", listener.Addr())
	for {
		connection, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go func() { _ = serve(connection) }()
	}
}
