// The plugins that write the Go stubs. They are apart from the client, which runs with older versions of what they are built of.
module github.com/allocation-gateway/allocation-gateway/protos/go

go 1.26.0

tool (
	google.golang.org/grpc/cmd/protoc-gen-go-grpc
	google.golang.org/protobuf/cmd/protoc-gen-go
)

require (
	google.golang.org/grpc/cmd/protoc-gen-go-grpc v1.6.2 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
