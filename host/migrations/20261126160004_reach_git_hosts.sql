alter table git_repos
    -- The only key that the SSH host of its URI may show: one that was given, or that it showed at the first contact.
    add column host_key text;

-- Repositories on the disks of hosts whose application is removed: each host removes its own after a day.
create table git_remains (
    uri text collate "C" not null,
    host_id uuid not null,
    since timestamptz not null default now(),
    constraint git_remains_pkey primary key (host_id, uri)
);
