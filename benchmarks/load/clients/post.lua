-- For wrk: posts $BODY, and tells what came of it as JSON.
wrk.method = "POST"
wrk.body = os.getenv("BODY")
wrk.headers["Content-Type"] = "application/json"

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'figures {"requests": %d, "errors": %d, "seconds": %f, "p50": %f, "p99": %f}\n',
    summary.requests - errors.status,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6))
end
