// The driver of the Go client: one call for each line of standard input, one line of standard output for each.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/allocation-gateway/allocation-gateway/clients/go/gateway"
)

const longestLine = 1 << 20

var (
	lines  = bufio.NewScanner(os.Stdin)
	known  = map[string]bool{"streams": true, "account": true, "cancel": true}
	toJSON = protojson.MarshalOptions{UseProtoNames: true}
	kinds  = map[error]string{
		gateway.ErrInvalidRequest:     "InvalidRequest",
		gateway.ErrNotFound:           "NotFound",
		gateway.ErrRefused:            "Refused",
		gateway.ErrInvalidState:       "InvalidState",
		gateway.ErrNoServiceAvailable: "NoServiceAvailable",
		gateway.ErrTryAgain:           "TryAgain",
		gateway.ErrUnknownOutcome:     "UnknownOutcome",
		gateway.ErrUnfinishedJob:      "UnfinishedJob",
		gateway.ErrNotPermitted:       "NotPermitted",
		gateway.ErrNotSupported:       "NotSupported",
		gateway.ErrGatewayFailure:     "GatewayFailure",
		context.Canceled:              "Cancelled",
	}
)

type asked struct {
	Address  string
	RPC      string
	Request  json.RawMessage
	Timeout  float64
	Metadata map[string]string
	Account  *string
	Needs    string
	Money    []string
	Hold     *int
	Throw    *int
	// ClientMetadata is that of the client.
	ClientMetadata map[string]string `json:"client_metadata"`
	// End is what ends the call from outside.
	End string
}

func main() {
	lines.Buffer(nil, longestLine)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var one asked
		check(json.Unmarshal(lines.Bytes(), &one))
		check(answers.Encode(answer(one)))
	}
	check(lines.Err())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func answer(one asked) map[string]any {
	if one.Needs != "" && !known[one.Needs] {
		return map[string]any{"lacks": one.Needs}
	}
	client, err := gateway.NewClient(one.Address, gateway.WithPlaintext(), gateway.WithMetadata(one.ClientMetadata))
	check(err)
	defer func() { _ = client.Close() }()
	ctx := context.Background()
	if one.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(one.Timeout*float64(time.Second)))
		defer cancel()
	}
	for name, value := range one.Metadata {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	if one.Account != nil {
		ctx = gateway.InAccount(ctx, *one.Account)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := ending(client, one.End, cancel)
	by := &giving{asked: one}
	found, err := made(ctx, client, one, by)
	<-ended
	var failure *gateway.Error
	switch {
	case errors.As(err, &failure):
		found = map[string]any{"error": told(failure), "taken": by.taken.Load()}
	case errors.Is(err, gateway.ErrClosed):
		found = map[string]any{"error": map[string]any{"kind": "Closed"}}
	case err != nil:
		found = map[string]any{"error": map[string]any{"kind": "Local", "message": err.Error()}}
	}
	if by.failed.Load() {
		if failure == nil {
			found["error"] = map[string]any{"kind": "Items"}
		} else {
			found["error"].(map[string]any)["cause"] = "Items"
		}
	}
	return found
}

// ending has a call ended from outside as a case says: when a line comes, or before it. What it returns is closed when that was done.
func ending(client *gateway.Client, how string, cancel context.CancelFunc) <-chan struct{} {
	done := make(chan struct{})
	switch how {
	case "cancel", "close":
		go func() {
			defer close(done)
			lines.Scan()
			if how == "cancel" {
				cancel()
			} else {
				check(client.Close())
			}
		}()
		return done
	case "closed":
		check(client.Close())
	}
	close(done)
	return done
}

// made makes the call, and returns what came of it.
func made(ctx context.Context, client *gateway.Client, one asked, by *giving) (map[string]any, error) {
	asked := request(one)
	if outcomes, lasts, err := lasting(ctx, client, asked, by); lasts {
		return map[string]any{"outcomes": outcomes}, err
	}
	response, err := client.Call(ctx, asked)
	if err != nil {
		return nil, err
	}
	return map[string]any{"result": fields(response), "money": amounts(response, one.Money)}, nil
}

func request(one asked) proto.Message {
	_, method, _ := strings.Cut(one.RPC, "/")
	kind, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName("allocation.v1." + method + "Request"))
	check(err)
	made := kind.New().Interface()
	check(protojson.Unmarshal(one.Request, made))
	return made
}

func amounts(response proto.Message, paths []string) map[string]string {
	found := map[string]string{}
	for _, path := range paths {
		at := response.ProtoReflect()
		for _, name := range strings.Split(path, ".") {
			at = at.Get(at.Descriptor().Fields().ByName(protoreflect.Name(name))).Message()
		}
		amount, err := gateway.MoneyOf(at.Interface().(*money.Money))
		check(err)
		found[path] = amount.String()
	}
	return found
}

func told(failure *gateway.Error) map[string]any {
	found := map[string]any{
		"kind":       kinds[failure.Kind],
		"code":       codeName(failure),
		"reason":     failure.Reason,
		"message":    failure.Message,
		"effect":     failure.Effect,
		"request_id": failure.RequestID,
		"account":    failure.Account,
		"metadata":   failure.Metadata,
	}
	if failure.Kind == gateway.ErrUnfinishedJob {
		found["job_id"], found["unanswered"] = failure.JobID, failure.Unanswered
	}
	if failure.RetryAfter != nil {
		found["retry_after"] = failure.RetryAfter.Seconds()
	}
	violations := []any{}
	for _, violation := range failure.FieldViolations {
		violations = append(violations, map[string]string{"field": violation.GetField(), "description": violation.GetDescription()})
	}
	found["field_violations"] = violations
	excluded := []any{}
	for _, service := range failure.ExcludedServices {
		excluded = append(excluded, fields(service))
	}
	found["excluded_services"], found["omitted_services"] = excluded, failure.OmittedServices
	if resource := failure.Resource; resource != nil {
		found["resource"] = map[string]string{"kind": resource.GetResourceType(), "name": resource.GetResourceName()}
	}
	if failure.Allocation != nil {
		found["allocation"] = fields(failure.Allocation)
	}
	if failure.ConsignmentAllocation != nil {
		found["consignment_allocation"] = fields(failure.ConsignmentAllocation)
	}
	if failure.FailedAllocation != nil {
		found["failed_allocation"] = fields(failure.FailedAllocation)
	}
	if failure.Progress != nil {
		found["progress"] = fields(failure.Progress)
	}
	return found
}

// codeName returns the name of a code as the contract has it: NOT_FOUND for NotFound.
func codeName(failure *gateway.Error) string {
	if failure.Code == codes.Canceled {
		return "CANCELLED"
	}
	var name strings.Builder
	for place, letter := range failure.Code.String() {
		if place > 0 && letter >= 'A' && letter <= 'Z' {
			name.WriteByte('_')
		}
		name.WriteRune(letter)
	}
	return strings.ToUpper(name.String())
}

func fields(message proto.Message) json.RawMessage {
	text, err := toJSON.Marshal(message)
	check(err)
	return text
}
