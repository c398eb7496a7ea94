-- title: What the response cache saved
-- unit: USD
-- chart: bar
-- param since: timestamp or none; calls that began at or after it
-- param until: timestamp or none; calls that began before it

SELECT provider, model, count(*) AS calls, count(*) FILTER (cache_hit) AS hits,
  sum(cost) AS cost, sum(cache_saved) FILTER (cache_hit) AS saved
FROM calls
WHERE cache_hit IS NOT NULL
  AND "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
  AND "at" < coalesce(CAST($until AS TIMESTAMPTZ), 'infinity')
GROUP BY ALL ORDER BY hits DESC, provider, model
