-- Who changed what, through either door. A row is written in the transaction of its change.
create table audit (
    id bigint generated always as identity,
    at timestamptz not null default now(),
    operation text not null,
    application text,
    name text not null,
    username text,
    token_id uuid,
    address text,
    plugin text,
    job_id uuid,
    before json,
    after json,
    constraint audit_pkey primary key (id),
    constraint audit_by_user_or_plugin check ((username is null) <> (plugin is null))
);

-- One for each filter of the list, and the times for what is too old to be kept.
create index audit_application on audit (application, id);
create index audit_username on audit (username, id);
create index audit_plugin on audit (plugin, id) where plugin is not null;
create index audit_operation on audit (operation, id);
create index audit_name on audit (name, id);
create index audit_at on audit (at);
