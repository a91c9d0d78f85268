-- For wrk: a request out of the environment (REQUEST_BODY, REQUEST_KEY), and one line of JSON at the end.
local body, key = os.getenv("REQUEST_BODY"), os.getenv("REQUEST_KEY")
if body and #body > 0 then
  wrk.method = "POST"
  wrk.body = body
  wrk.headers["Content-Type"] = "application/json"
end
if key and #key > 0 then wrk.headers["Authorization"] = "Bearer " .. key end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests": %d, "seconds": %f, "errors": %d, "refused": %d, "p50": %f, "p99": %f}\n',
    summary.requests, summary.duration / 1e6, errors.connect + errors.read + errors.write + errors.timeout,
    errors.status, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
