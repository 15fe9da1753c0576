// A server of Go's standard library (see ../python/truth.py for what it answers and logs). server PORT
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
)

var statusOf = map[string]int{"gone": 404, "error": 500, "put": 201}

func main() {
	truth, err := os.OpenFile(os.Getenv("TRUTH_LOG"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	every := func(w http.ResponseWriter, r *http.Request) {
		requestBytes, _ := io.Copy(io.Discard, r.Body)
		folder := strings.Split(r.URL.Path, "/")[1]
		status, ok := statusOf[folder]
		if !ok {
			status = 200
		}
		parts := partsOf(folder, r.URL.Path)
		sent := len(strings.Join(parts, ""))
		if folder != "chunked" {
			w.Header().Set("Content-Length", strconv.Itoa(sent))
		}
		if r.Method == http.MethodHead {
			parts, sent = nil, 0
		}
		fmt.Fprintf(truth, "%s %s %d %d %d\n", r.URL.Path, r.Method, status, requestBytes, sent)
		w.WriteHeader(status)
		for _, part := range parts {
			io.WriteString(w, part)
			if folder == "chunked" {
				w.(http.Flusher).Flush()
			}
		}
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(every)))
}

func partsOf(folder, path string) []string {
	switch folder {
	case "chunked":
		return []string{strings.Repeat("a", 1000), strings.Repeat("b", 20000), "c"}
	case "big":
		return []string{strings.Repeat("x", 300000)}
	}
	return []string{strings.Repeat("x", 7*len(path))}
}
