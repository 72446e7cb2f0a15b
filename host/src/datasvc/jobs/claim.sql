-- Claims queued jobs for a worker: of each lane (an application, a plugin and a name) the oldest, and of the
-- applications in turn, so that none waits for all that another one has queued.
--
--   $1  the worker
--   $2  what it has room for: a `Room` as JSON, whose members are named below
--   $3  the digests of the components whose guests can start at once
--   $4  how old the worker's heartbeat may be, in seconds
--
-- The plugin of the host's own jobs is '', and so is the application of those of the installation.
with recursive
room as (
    select * from jsonb_to_record($2::jsonb) as room (
        jobs bigint,                -- how many jobs it takes at most
        own bigint,                 -- how many of the host's own jobs may run here
        own_per_application bigint, -- how many of those may be one application's
        own_of_installation bigint, -- how many may be the installation's
        per_plugin bigint,          -- how many jobs of a plugin may run here
        per_action bigint,          -- how many jobs of an action may run here
        kinds text[],               -- the kinds of work that this server knows; null: all
        running jsonb,              -- what runs here of each lane
        own_running jsonb,          -- pairs: an application, and how many own jobs it has here
        heads jsonb,                -- where the lanes begin, if that is known: `KnownHeads`; null: it is not
        applications jsonb          -- what each application has had here lately
    )
),
running as (
    select coalesce(lane.plugin, '') as plugin, coalesce(lane.application, '') as application, lane.name, lane.count
    from room cross join jsonb_to_recordset(room.running)
        as lane (plugin text, application text, name text, count int)
),
-- Read once and not again for each lane.
own_running as materialized (
    select coalesce(pair ->> 0, '') as application, (pair ->> 1)::int as count
    from room cross join jsonb_array_elements(room.own_running) as pairs (pair)
),
served as (
    select coalesce(served.application, '') as application, served.running, served.last
    from room cross join jsonb_to_recordset(room.applications)
        as served (application text, running int, last bigint)
),
-- The lanes that have queued jobs, unless they are known. Each step finds the next one by a look-up in the index of
-- queued jobs, so that the cost grows with the lanes and not with the jobs.
found as (
    (select application, plugin, name from jobs
     where status = 'queued' and (select heads from room) is null
     order by application, plugin, name limit 1)
    union all
    select next.* from found cross join lateral (
        select application, plugin, name from jobs
        where status = 'queued' and (application, plugin, name) > (found.application, found.plugin, found.name)
        order by application, plugin, name limit 1
    ) as next
),
known as materialized (
    select lane.* from room cross join jsonb_to_recordset(room.heads -> 'lanes')
        as lane (application text, plugin text, name text, first uuid)
),
-- What has been queued since the lanes were looked at. If that is much, the next look finds the rest.
new as (
    select application, plugin, name, id as first from jobs
    where status = 'queued' and id >= (select heads ->> 'since' from room)::uuid
    order by status, id limit 1000
),
-- No queued job of a lane is before its `first`: there may be many that have left the queue, whose rows cannot be
-- removed yet.
lanes as materialized (
    select distinct on (application, plugin, name) application, plugin, name, first
    from (
        select application, plugin, name, '00000000-0000-0000-0000-000000000000'::uuid as first from found
        union all
        select * from known
        union all
        select * from new
    ) as all_lanes
    order by application, plugin, name, first
),
-- How many more jobs may run here of each lane's plugin, of its action, and, for own jobs, of its application. A plugin
-- shares its room over all its lanes; `of_own` is null for a plugin's jobs, which it does not limit.
rooms as (
    select lanes.*,
        case when lanes.plugin = '' then room.own else room.per_plugin end
            - coalesce((select sum(count) from running where running.plugin = lanes.plugin), 0) as of_plugin,
        room.per_action
            - coalesce((select sum(count) from running
                        where running.application = lanes.application and running.name = lanes.name), 0) as of_action,
        case when lanes.plugin = '' then
            case when lanes.application = '' then room.own_of_installation else room.own_per_application end
            - coalesce((select sum(count) from own_running where own_running.application = lanes.application), 0)
            end as of_own
    from lanes cross join room
),
-- The oldest jobs of each lane. More than needed, because other workers may be taking the first ones; few where there
-- are many lanes. `turn` is a job's place among its application's, `own_turn` among those of its plugin there.
heads as (
    select head.id, head.fence, rooms.application, rooms.plugin, rooms.of_plugin, rooms.of_own,
        row_number() over (partition by rooms.application, rooms.plugin order by head.id) as own_turn,
        row_number() over (partition by rooms.application order by head.id) as turn
    from rooms cross join lateral (
        -- In the order of the lanes' index and of no other: it must not be looked for among all jobs. That is why the
        -- lane is a lower bound here, and is compared outside. Jobs of a kind that a newer server has made are left
        -- to it.
        select id, fence, application, plugin, name from jobs
        where status = 'queued'
            and ((select kinds from room) is null or job_type = any((select kinds from room)::text[]))
            -- What is on another host can be done there only.
            and (bound_to is null or bound_to = (select host_id from workers where workers.id = $1))
            and (application, plugin, name, id) >= (rooms.application, rooms.plugin, rooms.name, rooms.first)
        order by application, plugin, name, id
        limit greatest(least(1 + 2 * (select jobs from room) / (select count(*) from lanes), of_action), 0)
    ) as head
    where head.application = rooms.application and head.plugin = rooms.plugin and head.name = rooms.name
),
-- Each job's place in the queue of all: applications that have fewer jobs here, running or before it in their own
-- queues, come first; among equals the one whose last job was claimed longest ago.
turns as (
    select heads.*, turn + coalesce(served.running, 0) as place, coalesce(served.last, 0) as last
    from heads left join served on served.application = heads.application
),
-- The same among the jobs of each plugin, whose room is used up in this order.
plugin_turns as (
    select *, row_number() over (partition by plugin order by place, last, id) as plugin_turn from turns
),
-- Those that fit, locked. The fence and the status are compared again with the locked row: what another worker has
-- taken meanwhile is passed over. (`is true` keeps Postgres from reading all of the queue for each of them, in the index
-- of states.) A worker that has given no sign of life gets none, since others may be taking over what it has.
chosen as (
    select jobs.id from plugin_turns as next join jobs on jobs.id = next.id and jobs.fence = next.fence
    where (jobs.status = 'queued') is true and plugin_turn <= of_plugin and own_turn <= coalesce(of_own, own_turn)
        and exists (select from workers where workers.id = $1
                        and seen_at > now() - make_interval(secs => $4))
    order by next.place, next.last, jobs.id
    limit (select jobs from room) for update of jobs skip locked
)
-- Own jobs and those whose components are ready start at once: this is their start on record. Others start by a
-- statement of their own, once their components are loaded.
update jobs set status = 'running', worker = $1, fence = fence + 1, updated_at = now(),
    attempt = attempt + (plugin = '' or component_digest = any($3))::int,
    started_at = case when plugin = '' or component_digest = any($3) then now() end
from chosen where jobs.id = chosen.id
returning jobs.id as "id: JobId", fence, attempt, started_at is not null as "started!", depth,
    coalesce(root, jobs.id) as "root!: JobId",
    nullif(application, '') as "application: AppName", name, job_type as "job_type: JobType", username,
    data as "data: SqlJson<Json>", nullif(plugin, '') as "plugin: PluginName", component_digest, timeout_ms,
    -- What the log has already, of earlier attempts: entries are numbered on from there, and count for its limits.
    (select coalesce(max(seq), 0) from job_entries where job_id = jobs.id) as "entries!",
    (select count(*) from job_entries where job_id = jobs.id and source <> 'host') as "plugin_entries!",
    (select coalesce(sum(octet_length(job_entries.data::text)), 0) from job_entries
     where job_id = jobs.id and source <> 'host') as "plugin_bytes!"
