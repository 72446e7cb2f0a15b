-- The durable steps of the host's own work. A step that has an outcome is not done again, on whichever server the job
-- goes on.
create table job_steps (
    job_id uuid not null,
    name text collate "C" not null,
    -- From 1, in the order in which they began.
    ordinal integer not null,
    kind text not null,
    state text not null,
    -- That of the claim which wrote the row.
    fence bigint not null,
    -- What was made before the step began, so that a look at the world can find what became of it.
    identity json,
    -- What it returned, or why it failed.
    outcome json,
    -- When a pause is over.
    until timestamptz,
    started_at timestamptz not null,
    ended_at timestamptz,
    constraint job_steps_pkey primary key (job_id, name),
    constraint job_steps_kind_known check (kind in ('repeatable', 'once', 'inspected', 'pause')),
    constraint job_steps_state_known check (state in ('running', 'succeeded', 'failed'))
);
