"""The side that faces callers: gRPC in."""
