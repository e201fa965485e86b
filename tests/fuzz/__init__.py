"""Fuzzing of the gateway's own gRPC server: inputs that coverage chooses, in virtual time, and the same for grpcio."""
