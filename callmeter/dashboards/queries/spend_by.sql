-- title: Spend by {by}
-- unit: USD
-- chart: bar
-- param since: timestamp or none; calls that began at or after it
-- param until: timestamp or none; calls that began before it
-- param zone: name of the time zone whose days, hours and months are meant; UTC if none
-- param limit: rows at most; all if none
-- by model: model
-- by provider: provider
-- by status: status
-- by deployment: deployment
-- by user: "user"
-- by team: team
-- by customer: customer
-- by key: key_id
-- by project: project
-- by feature: feature
-- by session: session_id
-- by environment: environment
-- by operation: operation
-- by region: region
-- by tag: unnest(if(len(tags) = 0, [NULL], tags))
-- by day: epoch_us("at") // 900000000 => CAST(timezone(coalesce($zone, 'UTC'), make_timestamptz(slot * 900000000)) AS DATE)
-- by hour: epoch_us("at") // 900000000 => date_trunc('hour', timezone(coalesce($zone, 'UTC'), make_timestamptz(slot * 900000000)))
-- by month: epoch_us("at") // 900000000 => CAST(date_trunc('month', timezone(coalesce($zone, 'UTC'), make_timestamptz(slot * 900000000))) AS DATE)

-- Days are found from quarters of an hour, of which every time zone is made up: asking for the zone of each call takes
-- ten times as long. A call with several tags counts under each.
-- A limit keeps the groups that cost most; they come in the order of all dimensions but the last, then by cost.
WITH slots AS (
  SELECT {grouped},
    count(*) AS calls, count(*) FILTER (status = 'failure') AS failures,
    sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens, sum(cost) AS cost,
    count(*) FILTER (cost_status NOT IN ('priced', 'free', 'no_usage')) AS incomplete,
    count(*) FILTER (cost_estimated) AS estimated
  FROM calls
  WHERE "at" >= coalesce(CAST($since AS TIMESTAMPTZ), '-infinity')
    AND "at" < coalesce(CAST($until AS TIMESTAMPTZ), 'infinity')
  GROUP BY {places}
), groups AS (
  SELECT {shown}, CAST(sum(calls) AS BIGINT) AS calls, CAST(sum(failures) AS BIGINT) AS failures,
    CAST(sum(input_tokens) AS BIGINT) AS input_tokens, CAST(sum(output_tokens) AS BIGINT) AS output_tokens,
    sum(cost) AS cost, CAST(sum(incomplete) AS BIGINT) AS incomplete, CAST(sum(estimated) AS BIGINT) AS estimated
  FROM slots GROUP BY {places} ORDER BY cost DESC NULLS LAST, {places} LIMIT coalesce($limit, 9000000000)
)
SELECT * FROM groups ORDER BY {outer}cost DESC NULLS LAST, {last}
