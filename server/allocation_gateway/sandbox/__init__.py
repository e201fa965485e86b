"""The sandbox: a faithful HTTP server of the upstream allocation APIs. It imports nothing of the gateway."""
