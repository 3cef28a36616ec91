-- freshlake: key = ["code", "severity"]
-- How many files have which finding.
SELECT
    code,
    severity,
    count(*) AS findings,
    count(DISTINCT path) AS files
FROM diagnostics
GROUP BY code, severity
