-- freshlake: key = ["path", "start_byte"]
-- Each import of the tree with the module it leads to: `from a import b` leads to a.b where that is a module, else to
-- a. Null where the tree holds neither. Grouped, because two files may share a module's name (a.py, a/__init__.py).
SELECT
    i.path,
    i.start_byte,
    i.module AS importer,
    i.imported_module,
    i.target,
    i.is_stdlib,
    coalesce(submodule.module, package.module) AS imported
FROM imports AS i
LEFT JOIN files AS submodule ON submodule.module = i.target
LEFT JOIN files AS package ON package.module = i.imported_module
GROUP BY
    i.path, i.start_byte, i.module, i.imported_module, i.target, i.is_stdlib, submodule.module, package.module
