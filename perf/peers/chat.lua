-- A chat call; STREAM is set by the scenario.
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["apikey"] = "perf-key"
local stream = os.getenv("STREAM") == "1" and ',"stream":true' or ""
wrk.body = '{"model":"gpt-4o-mini","max_tokens":64' .. stream ..
  ',"messages":[{"role":"system","content":"You are brief."},{"role":"user","content":"What is the capital of France?"}]}'
