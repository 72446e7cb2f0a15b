-- Receipts: what a server has got, from the upload to its disk. They outlive builds and jobs.
create table receipt_keys (
    -- The first 16 hexadecimal digits of the public key's SHA-256.
    id text not null,
    public_key bytea not null,
    -- Sealed.
    private_key bytea not null,
    secret_version integer not null,
    created_at timestamptz not null default now(),
    constraint receipt_keys_pkey primary key (id),
    constraint receipt_keys_secret_version_fkey foreign key (secret_version) references secret_keys (version)
);

create table receipts (
    id uuid not null,
    application text collate "C" not null,
    server text collate "C" not null,
    gitdeploy text collate "C" not null,
    build text collate "C" not null,
    -- The job that has put it there.
    job_id uuid not null,
    -- What is signed, as it is signed: canonical JSON.
    content text not null,
    key_id text not null,
    signature bytea not null,
    constraint receipts_pkey primary key (id),
    constraint receipts_job_key unique (job_id, gitdeploy, server),
    constraint receipts_application_fkey foreign key (application) references applications (name) on delete cascade,
    constraint receipts_key_fkey foreign key (key_id) references receipt_keys (id)
);
create index receipts_application on receipts (application, id);
create index receipts_server on receipts (application, server, id);
create index receipts_build on receipts (application, build, id);
create index receipts_gitdeploy on receipts (application, gitdeploy, id);

-- Who has uploaded a build, with which token.
alter table builds
    add column uploaded_at timestamptz,
    add column uploaded_by text,
    add column uploaded_with uuid;

-- The plugin that has asked for a deployment: its grants are looked at before each batch.
alter table deployments add column plugin text collate "C";
