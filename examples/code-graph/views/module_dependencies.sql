-- freshlake: key = ["importer", "imported"]
-- Which module of the tree imports which other one, and how many names from it.
SELECT
    importer,
    imported,
    count(*) AS imports
FROM resolved_imports
WHERE imported <> importer
GROUP BY importer, imported
