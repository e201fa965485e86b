"""A server of gRPC over HTTP/2, on asyncio: it knows nothing of what its methods do."""
