"""A gRPC gateway in front of Sorted's shipment allocation REST APIs."""
