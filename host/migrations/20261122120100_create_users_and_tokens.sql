create table users (
    name text collate "C" not null,
    -- argon2id, in the PHC string format.
    password_hash text not null,
    permissions json not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint users_pkey primary key (name)
);

create table tokens (
    id uuid not null,
    username text collate "C" not null,
    -- SHA-256 of the token; the token itself is nowhere.
    secret_sha256 bytea not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    constraint tokens_pkey primary key (id),
    constraint tokens_secret_key unique (secret_sha256),
    constraint tokens_username_fkey foreign key (username) references users (name) on delete cascade
);
create index tokens_username on tokens (username, id);
