-- title: What a call cost, line by line
-- unit: USD
-- chart: table
-- param call_id: the call's whole id

SELECT attempt, line, quantity, unit, rate, amount, source, since, via, tier
FROM cost_items WHERE call_id = $call_id
