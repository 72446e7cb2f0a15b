alter table jobs
    -- The job that this one runs again.
    add column rerun_of uuid,
    -- The host that ran it last, once it has ended; while it runs its worker says so.
    add column host_id uuid;

-- What an entry says of the job's progress, if it says anything: percent, and in a few words what is being done. A list
-- of jobs finds the newest such entry of each by one look into the index.
alter table job_entries
    add column percent smallint,
    add column step text;
create index job_entries_progress on job_entries (job_id, seq) where percent is not null;

-- For the lists. All but the jobs that succeeded, by state; the newest ones of each state are merged.
create index jobs_by_status on jobs (status, id) where status <> 'succeeded';
drop index jobs_active;
drop index jobs_troubled;
create index jobs_other_types on jobs (job_type, id) where job_type <> 'action';
