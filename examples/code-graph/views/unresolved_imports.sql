-- freshlake: key = ["importer", "imported_module", "is_stdlib"]
-- Which modules are imported that the tree does not hold, and by whom.
SELECT
    importer,
    imported_module,
    is_stdlib,
    count(*) AS imports
FROM resolved_imports
WHERE imported IS NULL
GROUP BY importer, imported_module, is_stdlib
