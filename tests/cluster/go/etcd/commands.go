//go:build commands

// Package commands pins etcd, so that one `go build` makes it from the module proxy.
package commands

import (
	_ "go.etcd.io/etcd/server/v3"
)
