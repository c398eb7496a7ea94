-- title: Calls whose cost is not fully known
-- unit: calls
-- chart: table
-- param since: timestamp or none; calls that began at or after it
-- param until: timestamp or none; calls that began before it

WITH asked AS (
  SELECT * FROM calls
  WHERE "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
    AND "at" < coalesce(CAST($until AS TIMESTAMPTZ), 'infinity')
)
SELECT provider, model, cost_status, cost_reason, count(*) AS calls,
  CAST(100 * count(*) / (SELECT count(*) FROM asked) AS DECIMAL(5, 2)) AS percent_of_calls,
  CAST(sum(input_tokens) AS BIGINT) AS input_tokens, CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
  sum(cost) AS known_cost, min("at") AS first_at, max("at") AS last_at
FROM asked
WHERE cost_status IN ('unpriced', 'partial', 'invalid_usage')
GROUP BY ALL ORDER BY calls DESC, provider, model
