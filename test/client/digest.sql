WITH RECURSIVE
  lane(n, factor) AS (VALUES (0, 16777619), (1, 16777619), (2, 1597334677)),
  step(id, n, factor, text, h) AS (
    SELECT id, n, factor, CASE n WHEN 0 THEN id ELSE id || ':' || CAST(server_version AS INTEGER) END, 2166136261
    FROM task, lane
    UNION ALL
    SELECT id, n, factor, substr(text, 2), (h + unicode(text) - 2 * (h & unicode(text))) * factor & 4294967295
    FROM step WHERE text <> ''),
  once(id, n, h) AS (SELECT id, n, (h + (h >> 16) - 2 * (h & (h >> 16))) * 73244475 & 4294967295 FROM step WHERE text = ''),
  twice(id, n, h) AS (SELECT id, n, (h + (h >> 16) - 2 * (h & (h >> 16))) * 73244475 & 4294967295 FROM once),
  record(id, bucket, a, b) AS (
    SELECT id, max(h) FILTER (WHERE n = 0) & (:buckets - 1), max(h) FILTER (WHERE n = 1), max(h) FILTER (WHERE n = 2)
    FROM (SELECT id, n, h + (h >> 16) - 2 * (h & (h >> 16)) AS h FROM twice) GROUP BY id)
SELECT bucket, count(*), sum(a) & 4294967295, sum(b) & 4294967295 FROM record GROUP BY bucket ORDER BY bucket
