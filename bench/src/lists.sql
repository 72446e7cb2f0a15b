-- A million jobs of sixty days and six hundred applications, a few of which have most of them. Three hundred more have
-- one each, long ago.
insert into applications (name) select 'app' || n from generate_series(1, 600) n;
insert into applications (name) select 'quiet' || n from generate_series(1, 300) n;
insert into jobs (id, job_type, name, application, username, status, data, result, error, plugin, component_digest,
                  timeout_ms, attempt, fence, worker, created_at, updated_at, started_at, completed_at)
select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || left(md5(n::text), 3) || '8'
            || right(md5(n::text), 15))::uuid,
    'action', case when n % 10000 = 17 and n < 900000 then 'Rare' else 'Action' || (1 + n % 50) end,
    'app' || app, case when n = 400000 then 'seldom' else 'user' || n % 40 end, status, '{"parameters":[["size","12"],["colour","blue"]]}',
    case status when 'succeeded' then '{"widgets":12}'::json end,
    case when status in ('failed', 'cancelled', 'lost') then '{"code":"failed","message":"no"}'::json end,
    case when n % 5000 = 11 then 'rare' else 'widgets' end, decode(repeat('00', 32), 'hex'), 300000, 1, 1,
    case status when 'running' then gen_random_uuid() end, at, at,
    case when status <> 'queued' then at end,
    case when status not in ('queued', 'running') then at + interval '3 seconds' end
from (
    select n, 1 + floor(600 * power(chance1, 3))::int as app, now() - (1000000 - n) * interval '5.184 seconds' as at,
        case when n > 999000 and chance2 < 0.1 then 'queued'
             when n > 998000 and chance2 < 0.2 then 'running'
             when chance3 < 0.012 then 'failed'
             when chance3 < 0.015 then 'cancelled'
             when chance3 < 0.0151 then 'lost'
             else 'succeeded' end as status
    from (select n, random() as chance1, random() as chance2, random() as chance3
          from generate_series(1, 1000000) n offset 0) as numbers
) as jobs;
insert into jobs (id, job_type, name, application, username, status, data, timeout_ms, created_at)
select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || left(md5(n::text), 3) || '9'
            || right(md5(n::text), 15))::uuid,
    'upload', 'Rare', 'quiet' || n, 'user1', 'succeeded', '{}', 300000, at
from (select n, now() - (400 + n) * interval '0.1 days' as at from generate_series(1, 150) n) as jobs;
insert into job_entries (job_id, seq, source, data)
select id, seq, 'widgets', '"a line of some length that says what happens to a widget"'
from jobs cross join generate_series(1, 3) seq where get_byte(uuid_send(id), 15) < 16;
analyze;

insert into users (name, password_hash, permissions) values
    ('global', '', '{"apps": {"_global": "read"}}'),
    ('one', '', '{"apps": {"app7": "read"}}'),
    ('all', '', '{"apps": {"*": "read"}}'),
    ('quiet', '', '{"apps": {"quiet1": "read"}}'),
    ('quiets', '', '{"apps": {"quiet*": "read"}}'),
    ('many', '', '{"apps": {"app3*": "read"}}');
insert into tokens (id, username, secret_sha256, expires_at)
select gen_random_uuid(), name, sha256(('elita_' || name)::bytea), now() + interval '1 day'
from users where name in ('global', 'one', 'all', 'quiet', 'quiets', 'many');
