//go:build commands

// Package commands pins Toxiproxy, so that one `go build` makes it from the module proxy.
package commands

import (
	_ "github.com/Shopify/toxiproxy/v2/cmd/server"
)
