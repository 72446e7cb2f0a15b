-- What a job's plugin asked of the host and wrote for operators; written with the job's end, removed with the job.
create table job_traces (
    job_id uuid not null,
    lines json not null,
    dropped integer not null,
    constraint job_traces_pkey primary key (job_id)
);
