-- A job without an application is one of the installation, such as a command for servers. '' rather than null, so that
-- its lanes compare like all others.
update jobs set application = '' where application is null;
alter table jobs alter column application set default '', alter column application set not null;
-- The installation's jobs of each user, who may look at them.
create index jobs_of_users on jobs (username, id) where application = '';

-- The host that a job needs, because what it works on is there only. Null: any host runs it.
alter table jobs add column bound_to uuid;
-- The token that a command for servers was asked for with: what is not begun yet is not done once it has ended.
alter table jobs add column token_id uuid;

-- The host that a server of the driver `local` is on: the one that it was made by.
alter table servers add column host_id uuid;

-- Whoever holds everything may send commands to servers, too.
update users set permissions = jsonb_set(permissions::jsonb, '{actions,_global}', '{"*": "execute"}')::json
where permissions::jsonb #>> '{apps,_global}' = 'read/write' and permissions::jsonb #>> '{apps,*}' = 'read/write'
    and permissions::jsonb #>> '{actions,*,*}' = 'execute' and permissions::jsonb -> 'servers' ? '*'
    and not permissions::jsonb -> 'actions' ? '_global';
