create table applications (
    -- Compared byte by byte, so that lists have the same order everywhere.
    name text collate "C" not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint applications_pkey primary key (name)
);
