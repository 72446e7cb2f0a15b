-- What servers fetch, each by a URL that works once and for a minute: where it could be seen on its way otherwise.
create table handovers (
    -- Of what is in the URL.
    secret_sha256 bytea not null,
    -- The server that it is for.
    server text collate "C" not null,
    -- Null once it was fetched.
    sealed bytea,
    secret_version integer not null,
    made_at timestamptz not null default now(),
    taken_at timestamptz,
    -- The address that it was fetched from.
    taken_from text,
    constraint handovers_pkey primary key (secret_sha256)
);

create index handovers_made on handovers (made_at);
