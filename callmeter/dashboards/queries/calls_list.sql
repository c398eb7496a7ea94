-- title: Calls
-- unit: USD
-- chart: table
-- param since: timestamp or none; calls that began at or after it
-- param until: timestamp or none; calls that began before it
-- param model: this model only
-- param provider: this provider only
-- param user: this user only
-- param project: this project only
-- param tag: calls with this tag only
-- param status: success or failure
-- param limit: the newest so many; 100 if none

SELECT call_id, "at", provider, model, status, coalesce(error_class, finish_reason) AS ended, stream,
  "user", project, input_tokens, output_tokens, cost, cost_status, latency_s
FROM calls
WHERE "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
  AND "at" < coalesce(CAST($until AS TIMESTAMPTZ), 'infinity')
  AND ($model IS NULL OR model = $model)
  AND ($provider IS NULL OR provider = $provider)
  AND ($user IS NULL OR "user" = $user)
  AND ($project IS NULL OR project = $project)
  AND ($tag IS NULL OR list_contains(tags, $tag))
  AND ($status IS NULL OR status = $status)
ORDER BY "at" DESC, call_id DESC LIMIT coalesce($limit, 100)
