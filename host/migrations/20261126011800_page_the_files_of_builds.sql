-- The paths in a build's file, in order, a thousand to a row: what a page looks at is what it reads.
create table build_files (
    application text collate "C" not null,
    build text collate "C" not null,
    -- From 0.
    part integer not null,
    -- The last path of this part, by which a page finds where it begins.
    last_path text collate "C" not null,
    paths text[] not null,
    constraint build_files_pkey primary key (application, build, part),
    constraint build_files_build_fkey
        foreign key (application, build) references builds (application, name) on delete cascade
);

alter table builds add column file_count integer not null default 0;
update builds set file_count = json_array_length(files) where json_array_length(files) > 0;
insert into build_files (application, build, part, last_path, paths)
select application, name, (place - 1) / 1000, max(path collate "C"), array_agg(path order by path collate "C")
from (
    select application, name, path, row_number() over (partition by application, name order by path collate "C") as place
    from builds, json_array_elements_text(files) as path
) as paths
group by application, name, (place - 1) / 1000;
-- Nothing is written to it any more. It stays for servers of before that still run on this database.
update builds set files = '[]' where file_count > 0;

-- The newest first.
create index builds_created on builds (application, created_at, name);
