"""What protects an upstream account, and the gateway, from too much: small policies, composed in protection.py."""
