// A service that tells its own traces over gRPC. sdk-go PORT
//
// Endpoint and delay are those of the SDK's variables. Answers every request with 200.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

func main() {
	exporter, err := otlptracegrpc.New(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "exporter:", err)
		os.Exit(1)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter))
	tracer := provider.Tracer("service")
	answer := func(response http.ResponseWriter, request *http.Request) {
		_, span := tracer.Start(request.Context(), "own "+request.URL.Path)
		defer span.End()
		fmt.Fprint(response, "ok")
	}
	err = http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(answer))
	fmt.Fprintln(os.Stderr, "server:", err)
	os.Exit(1)
}
