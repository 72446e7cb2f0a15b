-- Builds that go to servers, in batches. The id of a deployment is that of its job.
create table deployments (
    id uuid not null,
    application text collate "C" not null,
    build text collate "C" not null,
    username text,
    -- What was asked: null where it was not.
    environments json,
    groups json,
    servers json,
    gitdeploys json,
    -- {rolling_divisor, rolling_pause, ordered_pause, max_failures, skip_unreachable}
    options json not null,
    -- The deployment that this one goes on with, or takes back.
    resumes uuid,
    rolls_back uuid,
    -- What is done; from the start of its job on it does not change.
    plan json not null,
    git_repos text[] collate "C" not null,
    -- [{gitrepo, branch, commit, is_new, changed_files}]
    commits json not null default '[]',
    status text not null default 'created',
    -- What it does at the moment, in words.
    currently_on text,
    error json,
    -- Who asked for it to stop.
    cancelled_by text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    started_at timestamptz,
    completed_at timestamptz,
    constraint deployments_pkey primary key (id),
    constraint deployments_application_fkey foreign key (application) references applications (name) on delete cascade,
    constraint deployments_status_known check (status in ('created', 'running', 'complete', 'error', 'cancelled'))
);
create index deployments_application on deployments (application, id);

-- What a deployment does to each gitdeploy on each server.
create table deployment_targets (
    deployment uuid not null,
    batch integer not null,
    server text collate "C" not null,
    gitdeploy text collate "C" not null,
    state text not null default 'pending',
    code text,
    message text,
    -- What the server's working copy is at.
    head text,
    -- The build that was there before.
    build_before text collate "C",
    started_at timestamptz,
    ended_at timestamptz,
    constraint deployment_targets_pkey primary key (deployment, server, gitdeploy),
    constraint deployment_targets_deployment_fkey foreign key (deployment) references deployments (id) on delete cascade,
    constraint deployment_targets_state_known check (state in ('pending', 'running', 'succeeded', 'failed', 'skipped'))
);
create index deployment_targets_pair on deployment_targets (server, gitdeploy, deployment);

-- What each branch is at, since when, and who has put it there.
create table git_branches (
    application text collate "C" not null,
    git_repo text collate "C" not null,
    branch text collate "C" not null,
    build text collate "C" not null,
    commit text not null,
    committed_at timestamptz not null default now(),
    job_id uuid not null,
    username text,
    constraint git_branches_pkey primary key (application, git_repo, branch),
    constraint git_branches_git_repo_fkey
        foreign key (application, git_repo) references git_repos (application, name) on delete cascade
);

-- Since when a server has the build that it has, and who has put it there.
alter table gitdeploy_servers
    add column deployed_at timestamptz,
    add column deployed_by uuid,
    add column deployed_by_user text;
