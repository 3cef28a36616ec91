-- freshlake: key = ["qualified_name", "path", "start_byte"]
-- How often each function, method and class of the tree is called, by how many modules.
SELECT
    d.qualified_name,
    d.kind,
    d.path,
    d.start_byte,
    count(*) AS calls,
    count(DISTINCT r.module) AS calling_modules
FROM definitions AS d
INNER JOIN references AS r ON r.target = d.qualified_name
WHERE r.kind = 'call' AND d.kind <> 'module'
GROUP BY d.qualified_name, d.kind, d.path, d.start_byte
