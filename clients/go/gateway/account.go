package gateway

import (
	"context"

	"google.golang.org/grpc/metadata"
)

const (
	accountKey       = "allocation-account"
	authorizationKey = "authorization"
)

type inAccount struct{}

// InAccount returns a context for calls to an account of the gateway, instead of that of the client. With an empty name the
// gateway chooses.
func InAccount(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, inAccount{}, name)
}

// account returns the account that a call is for: that of its context, or of its metadata, or of the client. Empty if none
// is named.
func (c *caller) account(ctx context.Context) string {
	if name, ok := ctx.Value(inAccount{}).(string); ok {
		return name
	}
	if sent, ok := metadata.FromOutgoingContext(ctx); ok {
		if named := sent.Get(accountKey); len(named) > 0 {
			return named[0]
		}
	}
	if c.settings.account != "" {
		return c.settings.account
	}
	return c.settings.metadata[accountKey]
}
