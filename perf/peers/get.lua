-- A request that the policy lets pass. PATHS > 1 spreads requests over that many routes.
local paths = tonumber(os.getenv("PATHS") or "1")
local count = 0
wrk.headers["apikey"] = "perf-key"
request = function()
  count = count + 1
  return wrk.format("GET", "/r" .. (count * 7919 % paths) .. "/item")
end
