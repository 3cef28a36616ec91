-- freshlake: key = ["module"]
-- How many classes, functions and methods each module defines.
SELECT
    module,
    sum(CASE WHEN kind = 'class' THEN 1 ELSE 0 END) AS classes,
    sum(CASE WHEN kind = 'function' THEN 1 ELSE 0 END) AS functions,
    sum(CASE WHEN kind = 'method' THEN 1 ELSE 0 END) AS methods,
    count(*) AS symbols
FROM definitions
GROUP BY module
