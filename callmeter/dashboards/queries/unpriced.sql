-- title: Calls whose cost is not fully known
-- unit: calls
-- chart: table
-- param since: timestamp or none; calls that began at or after it
-- param until: timestamp or none; calls that began before it

SELECT provider, model, cost_status, cost_reason, count(*) AS calls,
  CAST(sum(input_tokens) AS BIGINT) AS input_tokens, CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
  sum(cost) AS known_cost, max("at") AS last_at
FROM calls
WHERE cost_status IN ('unpriced', 'partial', 'invalid_usage')
  AND "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
  AND "at" < coalesce(CAST($until AS TIMESTAMPTZ), 'infinity')
GROUP BY ALL ORDER BY calls DESC, provider, model
