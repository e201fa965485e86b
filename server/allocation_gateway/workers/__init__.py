"""Several processes behind one port: a supervisor that has no gRPC, and what it runs."""
