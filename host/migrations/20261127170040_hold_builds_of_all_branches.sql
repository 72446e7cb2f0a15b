-- A git repository may have several branches, each at a build of its own: all of them stay, not only what was committed
-- last.
create or replace view build_holds as
select application, name as build, 'pinned' as reason, null as held_by
from builds where attributes ->> 'pinned' = 'true'
union all
select application, deployed_build, 'deployed', gitdeploy || ' on ' || server
from gitdeploy_servers where deployed_build is not null
union all
select application, build, 'committed', git_repo || ' at ' || branch from git_branches
union all
-- What was committed before branches were recorded.
select application, last_build, 'committed', name
from git_repos where last_build is not null and not exists (
    select from git_branches
    where git_branches.application = git_repos.application and git_repo = git_repos.name and build = last_build)
union all
select application, build, reason, needed_by from build_needs
union all
select builds.application, builds.name, 'uploading', jobs.id::text
from builds join jobs on jobs.id = builds.upload where jobs.status in ('queued', 'running');

create index git_branches_build on git_branches (application, build);
