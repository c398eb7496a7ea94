-- title: Calls that no provider saw
-- unit: USD
-- chart: table
-- param since: timestamp or none; calls that began at or after it
-- param until: timestamp or none; calls that began before it

-- `mock_response` gives such calls the cost that a real one would have had.
SELECT provider, model, count(*) AS calls, sum(cost) AS cost
FROM calls
WHERE api_base = 'mock:'
  AND "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
  AND "at" < coalesce(CAST($until AS TIMESTAMPTZ), 'infinity')
GROUP BY ALL ORDER BY calls DESC, provider, model
