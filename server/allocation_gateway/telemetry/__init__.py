"""What the gateway tells about itself: logs, spans and metrics. Nothing outside imports OpenTelemetry."""
