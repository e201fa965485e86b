"""What the gateway can do: one row for each rpc."""
