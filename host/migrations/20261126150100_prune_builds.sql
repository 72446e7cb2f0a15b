-- Which builds are kept, {keep_last, keep_seconds}, by the rule that the server applies itself; null: all.
alter table applications add column retention json;

-- Builds that must not go, whatever the rule says: those that a deployment puts on servers, or that it could put back.
-- Whoever needs a build writes a row, and removes it when it does not need the build any more.
create table build_needs (
    application text collate "C" not null,
    build text collate "C" not null,
    -- What for, in a word that users see, such as `deployment` or `rollback`.
    reason text not null,
    -- What it is that needs it, such as the id of a deployment.
    needed_by text collate "C" not null,
    constraint build_needs_pkey primary key (application, build, reason, needed_by),
    constraint build_needs_build_fkey foreign key (application, build) references builds (application, name)
);

create index gitdeploy_servers_deployed_build on gitdeploy_servers (application, deployed_build)
    where deployed_build is not null;
create index git_repos_last_build on git_repos (application, last_build) where last_build is not null;

-- Why a build is held, whatever the rule says, and by what.
create view build_holds as
select application, name as build, 'pinned' as reason, null as held_by
from builds where attributes ->> 'pinned' = 'true'
union all
select application, deployed_build, 'deployed', gitdeploy || ' on ' || server
from gitdeploy_servers where deployed_build is not null
union all
select application, last_build, 'committed', name from git_repos where last_build is not null
union all
select application, build, reason, needed_by from build_needs
union all
select builds.application, builds.name, 'uploading', jobs.id::text
from builds join jobs on jobs.id = builds.upload where jobs.status in ('queued', 'running');

-- A job changes documents, too: the one who asked for it is its user, and for a rule there is nobody.
alter table audit drop constraint audit_by_user_or_plugin;
alter table audit add constraint audit_by_user_plugin_or_job
    check (num_nonnulls(username, plugin) = 1 or (plugin is null and job_id is not null));
create index audit_job_id on audit (job_id, id) where job_id is not null;
