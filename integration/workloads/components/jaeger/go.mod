module ratatosk.test/jaeger

go 1.26.8

require github.com/jaegertracing/jaeger v1.62.0
