-- For wrk: sends the requests of a file in turn and prints what came of them as one line of JSON.
-- The file, named by the environment's REQUESTS, has blocks that a line "=" ends: method and path, header lines, an empty
-- line, and the body in one line, which may be missing.

local requests, turn = {}, 0

local function add(lines)
  local method, path = lines[1]:match("^(%S+) (%S+)$")
  local headers, body, at = {}, nil, 2
  while lines[at] and lines[at] ~= "" do
    local name, value = lines[at]:match("^([^:]+): (.*)$")
    headers[name] = value
    at = at + 1
  end
  body = lines[at + 1]
  requests[#requests + 1] = wrk.format(method, path, headers, body)
end

function init()
  local lines = {}
  for line in io.lines(os.getenv("REQUESTS")) do
    if line == "=" then
      add(lines)
      lines = {}
    else
      lines[#lines + 1] = line
    end
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  -- wrk counts 304 as good: only from 400 on is a status an error.
  print(string.format('{"requests":%d,"microseconds":%d,"bytes":%d,"refused":%d,"broken":%d,"p50_us":%.0f,"p99_us":%.0f}',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
