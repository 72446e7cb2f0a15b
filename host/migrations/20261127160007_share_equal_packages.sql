-- Packages of an application that are equal are stored once: those that came later say in `at` where their bytes are.

-- Which builds have a package with this digest?
create index builds_by_digest on builds using gin (jsonb_path_query_array(packages::jsonb, '$.*.sha256'));

-- Which builds have packages whose bytes are in the folder of this upload, which is another build's?
create index builds_by_shared on builds using gin (jsonb_path_query_array(packages::jsonb, '$.*.at.upload'));
