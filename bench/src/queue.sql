-- One application has queued a hundred thousand jobs of one action.
insert into jobs (id, job_type, name, application, username, data, plugin, component_digest, timeout_ms)
select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0') || '7' || left(md5(n::text), 3)
            || '8' || right(md5(n::text), 15))::uuid,
    'action', 'Action1', 'app1', 'user1', '{"parameters":[]}', 'widgets', decode(repeat('00', 32), 'hex'), 300000
from generate_series(1, 100000) n;
analyze jobs;
