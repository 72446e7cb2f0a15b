-- The servers that run jobs. A worker's jobs are its own while it renews their leases.
create table workers (
    id uuid not null,
    -- The data directory it runs on: a restarted server takes over what its predecessor left.
    host_id uuid not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now(),
    constraint workers_pkey primary key (id)
);
create index workers_host_id on workers (host_id);

create table jobs (
    -- UUIDv7: in the order of creation, for the queue and for lists.
    id uuid not null,
    job_type text not null,
    name text collate "C" not null,
    -- No foreign key: what ran stays on record when its application goes.
    application text collate "C",
    username text collate "C",
    status text not null default 'queued',
    -- `json`, not `jsonb`: kept as it came, with its order and its repeats.
    data json not null,
    result json,
    error json,

    plugin text collate "C",
    -- The component that this job runs, whatever is active by then.
    component_digest bytea,
    idempotent boolean not null default false,
    timeout_ms bigint not null,

    idempotency_key text collate "C",
    -- SHA-256 of the request that came with the key.
    idempotency_fingerprint bytea,

    -- How often it was started.
    attempt integer not null default 0,
    -- Grows with every claim; a write that carries an older one changes nothing.
    fence bigint not null default 0,
    worker uuid,
    lease_until timestamptz,
    cancel_requested_at timestamptz,

    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,

    constraint jobs_pkey primary key (id),
    constraint jobs_status_known
        check (status in ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    constraint jobs_running_has_worker check ((status = 'running') = (worker is not null))
);
create unique index jobs_idempotency_key on jobs (username, idempotency_key) where idempotency_key is not null;
create index jobs_queued on jobs (id) where status = 'queued';
create index jobs_running on jobs (worker) where status = 'running';
create index jobs_application on jobs (application, id);

-- The log of each job: numbered from 1 without gaps, written by the holder of the job's claim.
create table job_entries (
    job_id uuid not null,
    seq bigint not null,
    at timestamptz not null default clock_timestamp(),
    -- `host`, or a plugin's name.
    source text collate "C" not null,
    data json not null,
    constraint job_entries_pkey primary key (job_id, seq),
    constraint job_entries_job_id_fkey foreign key (job_id) references jobs (id) on delete cascade,
    constraint job_entries_seq_from_one check (seq >= 1)
);
