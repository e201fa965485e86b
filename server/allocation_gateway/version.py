"""The version of the gateway: read by the build, the command line and telemetry."""

__version__ = "0.1.0"
