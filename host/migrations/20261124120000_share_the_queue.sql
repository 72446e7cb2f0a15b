-- Several servers share the queue. A worker holds its jobs by its own heartbeat, `seen_at`, not by a lease on each of
-- them: renewing is one row, however many jobs run.
alter table jobs drop column lease_until;
-- Of the servers that answer requests only it says that they live, too.
alter table workers add column runs_jobs boolean not null default true;

-- Who asked for the job to stop.
alter table jobs add column cancel_requested_by text collate "C";

-- A lane is the queue of one action. A claim looks at the head of each lane, so that a long one hides no other.
create index jobs_lanes on jobs (application, plugin, name, id) where status = 'queued';
drop index jobs_queued;
-- For the lists: what is unfinished, what ended badly, what has a name.
create index jobs_active on jobs (id) where status in ('queued', 'running');
create index jobs_troubled on jobs (id) where status in ('failed', 'cancelled', 'lost');
create index jobs_name on jobs (name, id);

-- Rows of finished jobs stay behind those of the queue; both are tidied up early.
alter table jobs set (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- The object store of this installation: its files are where the first server put them.
create table storage (
    only_row boolean not null default true,
    -- Written into the store, so that a server sees whether it has the same one.
    id uuid not null,
    -- The host whose directory it is; none: it is shared.
    host_id uuid,
    constraint storage_pkey primary key (only_row),
    constraint storage_one_row check (only_row)
);

-- Entries are written only under the lock of their job, so this check would cost each of them a look-up for nothing.
alter table job_entries drop constraint job_entries_job_id_fkey;
