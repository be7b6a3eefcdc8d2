// pause is the one program of the smallest image that a node can be tested with. Without arguments it does what a pod's sandbox does:
// it holds the namespaces and reaps. `serve` answers HTTP on port 8080, ready from the moment on that a file says so; `get URL` asks.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const readyFile = "/tmp/ready"

func main() {
	switch {
	case len(os.Args) == 1:
		pause()
	case os.Args[1] == "serve":
		serve()
	case os.Args[1] == "ready":
		check(os.WriteFile(readyFile, nil, 0o644))
	case os.Args[1] == "get" && len(os.Args) == 3:
		get(os.Args[2])
	default:
		check(fmt.Errorf("unknown arguments %q: allowed are serve, ready, get URL", os.Args[1:]))
	}
}

// pause ends by SIGTERM, and waits for whoever lost its parent: as the first process of a shared namespace it inherits them.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func serve() {
	host, err := os.Hostname()
	check(err)
	http.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(readyFile); err != nil {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("asked for %s\n", r.URL.Path)
		fmt.Fprint(w, host)
	})
	fmt.Println("serving")
	check(http.ListenAndServe(":8080", nil))
}

func get(url string) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	check(err)
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	check(err)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
