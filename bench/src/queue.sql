-- One application has queued a hundred thousand jobs; a thousand other actions have twenty each.
insert into jobs (id, job_type, name, application, username, data, plugin, component_digest, timeout_ms)
select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || left(md5(n::text), 3)
            || '8' || right(md5(n::text), 15))::uuid,
    'action', case when n <= 100000 then 'Action1' else 'Action' || n % 10 end,
    case when n <= 100000 then 'app1' else 'app' || 2 + n % 100 end, 'user1', '{"parameters":[]}', 'widgets', decode(repeat('00', 32), 'hex'),
    300000
from generate_series(1, 120000) n;
analyze jobs;
