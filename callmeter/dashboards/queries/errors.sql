-- title: Failures
-- unit: calls
-- chart: bar
-- param since: timestamp or none; calls that began at or after it
-- param until: timestamp or none; calls that began before it

SELECT provider, model, error_class, http_status, count(*) AS calls, sum(cost) AS cost,
  max("at") AS last_at, arg_max(error_message, "at") AS last_message
FROM calls
WHERE status = 'failure'
  AND "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
  AND "at" < coalesce(CAST($until AS TIMESTAMPTZ), 'infinity')
GROUP BY provider, model, error_class, http_status ORDER BY calls DESC, provider, model
