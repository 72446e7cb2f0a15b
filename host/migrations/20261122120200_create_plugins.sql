-- One row a plugin: the active version, and what became of the last file that was offered for it.
create table plugins (
    name text collate "C" not null,
    -- `compiling`, `active` or `refused`; with an active version it stays `active` when a new file is refused.
    state text not null,
    -- The active component's SHA-256, its number among this plugin's versions, and what it asks for.
    digest bytea,
    version integer not null default 0,
    size_bytes bigint not null default 0,
    imports text[] not null default '{}',
    -- Why the file `refused_digest` was refused.
    refused_digest bytea,
    last_error text,
    -- The host in whose plugin directory the file is.
    host_id uuid not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint plugins_pkey primary key (name),
    constraint plugins_state_known check (state in ('compiling', 'active', 'refused')),
    constraint plugins_active_has_digest check (state <> 'active' or digest is not null)
);

create table plugin_actions (
    application text collate "C" not null,
    name text collate "C" not null,
    plugin text collate "C" not null,
    description text not null,
    -- [{name, type, description}], in the order of the registration.
    parameters json not null,
    idempotent boolean not null,
    timeout_seconds integer,
    constraint plugin_actions_pkey primary key (application, name),
    constraint plugin_actions_plugin_fkey foreign key (plugin) references plugins (name) on delete cascade
);
create index plugin_actions_plugin on plugin_actions (plugin);

create table plugin_hooks (
    application text collate "C" not null,
    name text collate "C" not null,
    plugin text collate "C" not null,
    -- In the order of the plugins' names: that is the order in which they run.
    constraint plugin_hooks_pkey primary key (application, name, plugin),
    constraint plugin_hooks_plugin_fkey foreign key (plugin) references plugins (name) on delete cascade
);
create index plugin_hooks_plugin on plugin_hooks (plugin);

-- Counts the changes of the tables above, so that a host sees in one read whether it is behind.
create table plugin_catalog (
    only_row boolean not null default true,
    revision bigint not null default 0,
    constraint plugin_catalog_pkey primary key (only_row),
    constraint plugin_catalog_one_row check (only_row)
);
insert into plugin_catalog default values;
