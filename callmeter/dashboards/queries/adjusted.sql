-- title: Calls that were priced anew
-- unit: USD
-- chart: table
-- param since: timestamp or none; calls that began at or after it
-- param until: timestamp or none; calls that began before it

SELECT provider, model, count(*) AS calls, count(*) FILTER (cost_original IS NULL) AS newly_priced,
  sum(cost_original) AS charged, sum(cost) AS cost, sum(coalesce(cost, 0) - coalesce(cost_original, 0)) AS difference
FROM calls SEMI JOIN adjustments USING (call_id)
WHERE "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
  AND "at" < coalesce(CAST($until AS TIMESTAMPTZ), 'infinity')
GROUP BY ALL ORDER BY calls DESC, provider, model
