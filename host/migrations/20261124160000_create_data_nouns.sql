-- What versions of all documents are told apart by, in their ETags: a number is never given twice, so that what was
-- made again under its old name is not taken for what it was.
create sequence revisions;

alter table applications
    -- An object, as the client gave it. So in all tables.
    add column attributes json not null default '{}',
    add column revision bigint not null default nextval('revisions');

create table builds (
    application text collate "C" not null,
    name text collate "C" not null,
    attributes json not null,
    -- Whether its file is in the store.
    stored boolean not null default false,
    master_file text,
    -- {name: {filename, file_type, size_bytes, sha256}}
    packages json not null default '{}',
    files json not null default '[]',
    revision bigint not null default nextval('revisions'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint builds_pkey primary key (application, name),
    constraint builds_application_fkey foreign key (application) references applications (name) on delete cascade
);

create table package_maps (
    application text collate "C" not null,
    name text collate "C" not null,
    -- {name: {patterns, remove_prefix, prefix}}
    packages json not null,
    attributes json not null,
    revision bigint not null default nextval('revisions'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint package_maps_pkey primary key (application, name),
    constraint package_maps_application_fkey foreign key (application) references applications (name) on delete cascade
);

create table git_providers (
    name text collate "C" not null,
    type text not null,
    base_url text,
    attributes json not null,
    revision bigint not null default nextval('revisions'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint git_providers_pkey primary key (name),
    constraint git_providers_type_known check (type in ('local', 'github', 'gitlab', 'gitea', 'bitbucket', 'other'))
);

create table git_repos (
    application text collate "C" not null,
    name text collate "C" not null,
    -- None: its URI says all.
    git_provider text collate "C",
    uri text not null,
    -- The build that its branch holds, and the commit.
    last_build text collate "C",
    last_commit text,
    attributes json not null,
    revision bigint not null default nextval('revisions'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint git_repos_pkey primary key (application, name),
    constraint git_repos_application_fkey foreign key (application) references applications (name) on delete cascade,
    constraint git_repos_git_provider_fkey foreign key (git_provider) references git_providers (name)
);
create index git_repos_git_provider on git_repos (git_provider, application, name);

create table servers (
    name text collate "C" not null,
    environment text collate "C" not null,
    driver text not null,
    -- How the driver reaches it; no secrets.
    connection json not null,
    attributes json not null,
    revision bigint not null default nextval('revisions'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint servers_pkey primary key (name),
    constraint servers_driver_known check (driver in ('salt', 'ssh', 'local'))
);
create index servers_environment on servers (environment, name);

create table gitdeploys (
    application text collate "C" not null,
    name text collate "C" not null,
    package text collate "C" not null,
    -- Where the clone is on each server.
    path text not null,
    git_repo text collate "C" not null,
    default_branch text not null,
    -- {favor, ignore-whitespace, gitignore}
    options json not null,
    -- {prepull, postpull}
    actions json not null,
    attributes json not null,
    revision bigint not null default nextval('revisions'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint gitdeploys_pkey primary key (application, name),
    constraint gitdeploys_application_fkey foreign key (application) references applications (name) on delete cascade,
    constraint gitdeploys_git_repo_fkey foreign key (application, git_repo) references git_repos (application, name)
);
create index gitdeploys_git_repo on gitdeploys (application, git_repo, name);

-- The servers on which a gitdeploy is initialized.
create table gitdeploy_servers (
    application text collate "C" not null,
    gitdeploy text collate "C" not null,
    server text collate "C" not null,
    deployed_build text collate "C",
    initialized_at timestamptz not null default now(),
    constraint gitdeploy_servers_pkey primary key (application, gitdeploy, server),
    constraint gitdeploy_servers_gitdeploy_fkey
        foreign key (application, gitdeploy) references gitdeploys (application, name) on delete cascade,
    constraint gitdeploy_servers_server_fkey foreign key (server) references servers (name)
);
create index gitdeploy_servers_server on gitdeploy_servers (server, application, gitdeploy);

create table groups (
    application text collate "C" not null,
    name text collate "C" not null,
    -- Whether its gitdeploys are deployed stage by stage.
    ordered boolean not null,
    rolling_deploy boolean not null,
    description text not null,
    attributes json not null,
    revision bigint not null default nextval('revisions'),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint groups_pkey primary key (application, name),
    constraint groups_application_fkey foreign key (application) references applications (name) on delete cascade
);

-- A group's gitdeploys in their order; one that is not ordered has one stage.
create table group_gitdeploys (
    application text collate "C" not null,
    "group" text collate "C" not null,
    gitdeploy text collate "C" not null,
    stage integer not null,
    place integer not null,
    constraint group_gitdeploys_pkey primary key (application, "group", gitdeploy),
    constraint group_gitdeploys_group_fkey
        foreign key (application, "group") references groups (application, name) on delete cascade,
    constraint group_gitdeploys_gitdeploy_fkey
        foreign key (application, gitdeploy) references gitdeploys (application, name)
);
create index group_gitdeploys_gitdeploy on group_gitdeploys (application, gitdeploy, "group");

-- The servers of a group: those on which all of its gitdeploys are initialized.
create view group_servers as
    select d.application, d."group", s.server, v.environment
    from group_gitdeploys d
        join (select application, "group", count(*) as gitdeploys from group_gitdeploys group by application, "group") g
            on g.application = d.application and g."group" = d."group"
        join gitdeploy_servers s on s.application = d.application and s.gitdeploy = d.gitdeploy
        join servers v on v.name = s.server
    group by d.application, d."group", s.server, v.environment, g.gitdeploys
    having count(*) = g.gitdeploys;

-- An action that a plugin has started: by which job, and how many of such are above it.
alter table jobs
    add column parent uuid,
    add column depth integer not null default 0;

-- Lists of what ended badly, for one who may read some applications only.
create index jobs_troubled_application on jobs (application, status, id) where status in ('failed', 'cancelled', 'lost');
