-- One line of figures for a program: requests, failures, and in microseconds duration and p50, p99, p99.9.
function done(summary, latency)
	local e = summary.errors
	local failed = e.connect + e.read + e.write + e.status + e.timeout
	io.write(string.format("bench %d %d %d %d %d %d\n", summary.requests, failed, summary.duration,
		latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
