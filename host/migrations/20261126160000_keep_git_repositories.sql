alter table git_repos
    -- Whether it can be used.
    add column state text not null default 'ready',
    -- The job that makes it, or removes it; the last one that did.
    add column job uuid,
    -- The host on whose disk it is. Null: on none's.
    add column host_id uuid,
    -- Whether such a job has made it: only then may one remove it with its files.
    add column made boolean not null default false,
    -- The job that works on it, and its claim: for as long as that claim is held, nobody else does.
    add column lock_job uuid,
    add column lock_fence bigint,
    add constraint git_repos_state_known check (state in ('creating', 'ready', 'failed', 'removing'));

-- The commit that a server has pulled last: what came before it is not a commit of its own.
alter table gitdeploy_servers add column pulled_commit text;

-- With which a server reads the repository of a gitdeploy that is initialized on it, and nothing else.
create table git_tokens (
    application text collate "C" not null,
    gitdeploy text collate "C" not null,
    server text collate "C" not null,
    secret_sha256 bytea not null,
    created_at timestamptz not null default now(),
    constraint git_tokens_pkey primary key (application, gitdeploy, server),
    constraint git_tokens_secret_key unique (secret_sha256),
    constraint git_tokens_gitdeploy_fkey
        foreign key (application, gitdeploy) references gitdeploys (application, name) on delete cascade,
    constraint git_tokens_server_fkey foreign key (server) references servers (name) on delete cascade
);
