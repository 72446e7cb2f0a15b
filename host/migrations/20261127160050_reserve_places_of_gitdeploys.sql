-- Where jobs that were asked to initialize gitdeploys make working copies. A row counts until its job has ended.
create table gitdeploy_reservations (
    job_id uuid not null,
    application text collate "C" not null,
    gitdeploy text collate "C" not null,
    server text collate "C" not null,
    constraint gitdeploy_reservations_pkey primary key (job_id, server),
    constraint gitdeploy_reservations_gitdeploy_fkey
        foreign key (application, gitdeploy) references gitdeploys (application, name) on delete cascade,
    constraint gitdeploy_reservations_server_fkey foreign key (server) references servers (name) on delete cascade
);
create index gitdeploy_reservations_gitdeploy on gitdeploy_reservations (application, gitdeploy);
create index gitdeploy_reservations_server on gitdeploy_reservations (server);

-- The servers on which a gitdeploy has its place: it is initialized there, or a job that has not ended does that.
create view gitdeploy_places as
    select application, gitdeploy, server from gitdeploy_servers
    union
    select r.application, r.gitdeploy, r.server from gitdeploy_reservations r
        join jobs on jobs.id = r.job_id and jobs.status in ('queued', 'running');
