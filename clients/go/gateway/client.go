// Package gateway is the client of the allocation gateway: calls that are safe to repeat, and errors that say what to do.
//
// Its clients are the generated ones of package allocationv1. What this package adds is between them and the network: an
// allocation or a de-allocation gets a request_id and is repeated with it until it is known how it ended, within the
// deadline of its context. AllocateShipmentStream, WatchShipmentAllocations and their like for consignments begin streams anew
// that are lost. Every error is an *Error.
package gateway

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	allocationv1 "github.com/allocation-gateway/allocation-gateway/clients/go/allocation/v1"
)

// ServiceConfig is the service configuration of the clients in all languages: a time-out for every rpc, retries of reads.
//
//go:embed service_config.json
var ServiceConfig string

// Client calls one gateway. It may be used by several goroutines at once, and is meant to live long.
type Client struct {
	// Shipments allocates shipments.
	Shipments allocationv1.ShipmentAllocationServiceClient
	// Consignments allocates consignments.
	Consignments allocationv1.ConsignmentAllocationServiceClient
	// ServiceGroups lists and finds service groups.
	ServiceGroups allocationv1.ServiceGroupServiceClient

	connection *grpc.ClientConn
	caller     *caller
}

// NewClient makes ready to call the gateway at an address: host:port, or any target of gRPC's. Calls go to all addresses of
// the host in turn. Without options it uses TLS and trusts the system's authorities. It connects with the first call.
func NewClient(address string, options ...Option) (*Client, error) {
	settings, err := newSettings(options)
	if err != nil {
		return nil, err
	}
	caller, err := settings.caller()
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(address, settings.dialOptions(caller)...)
	if err != nil {
		return nil, fmt.Errorf("allocation gateway at %s: %w", address, err)
	}
	return &Client{
		Shipments:     allocationv1.NewShipmentAllocationServiceClient(connection),
		Consignments:  allocationv1.NewConsignmentAllocationServiceClient(connection),
		ServiceGroups: allocationv1.NewServiceGroupServiceClient(connection),
		connection:    connection,
		caller:        caller,
	}, nil
}

// Close closes the connections. A call under way ends: with an *Error that is ErrUnknownOutcome if it may have been carried out, a
// job with one that is ErrUnfinishedJob, and anything else, as all that is called later, with ErrClosed.
func (c *Client) Close() error {
	c.caller.close()
	return c.connection.Close()
}

// Call makes the call whose request this is, such as that of an *Error whose outcome is unknown, and returns its response. If
// the error has an Account that is not the client's, the context needs it: InAccount.
func (c *Client) Call(ctx context.Context, request proto.Message, options ...grpc.CallOption) (proto.Message, error) {
	method, err := methodOf(request)
	if err != nil {
		return nil, err
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		return nil, err
	}
	response := kind.New().Interface()
	return response, c.connection.Invoke(ctx, pathOf(method), request, response, options...)
}

func methodOf(request proto.Message) (protoreflect.MethodDescriptor, error) {
	name := request.ProtoReflect().Descriptor().FullName()
	for _, file := range []protoreflect.FileDescriptor{
		allocationv1.File_allocation_v1_shipment_allocation_service_proto,
		allocationv1.File_allocation_v1_consignment_allocation_service_proto,
		allocationv1.File_allocation_v1_service_group_service_proto,
	} {
		for s := range file.Services().Len() {
			methods := file.Services().Get(s).Methods()
			for m := range methods.Len() {
				if methods.Get(m).Input().FullName() == name {
					return methods.Get(m), nil
				}
			}
		}
	}
	return nil, fmt.Errorf("%s is not the request of an rpc", name)
}

func pathOf(method protoreflect.MethodDescriptor) string {
	service := strings.TrimSuffix(string(method.FullName()), "."+string(method.Name()))
	return "/" + service + "/" + string(method.Name())
}
