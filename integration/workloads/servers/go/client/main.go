// A client of Go's standard library; says what it did: `path method status request response`. client PORT PREFIX COUNT
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

func main() {
	prefix := os.Args[2]
	count, _ := strconv.Atoi(os.Args[3])
	kinds := []struct {
		method, folder string
		body           int
	}{{"GET", "r", 0}, {"POST", "r", 3000}, {"PUT", "put", 40000}, {"GET", "gone", 0}, {"HEAD", "r", 0}}
	for number := range count {
		kind := kinds[number%len(kinds)]
		path := fmt.Sprintf("/%s/%s-%d", kind.folder, prefix, number)
		var body io.Reader
		if kind.body > 0 {
			body = strings.NewReader(strings.Repeat("b", kind.body))
		}
		request, err := http.NewRequest(kind.method, "http://127.0.0.1:"+os.Args[1]+path, body)
		if err != nil {
			log.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			log.Fatal(err)
		}
		bytes, err := io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(path, kind.method, response.StatusCode, kind.body, bytes)
	}
}
