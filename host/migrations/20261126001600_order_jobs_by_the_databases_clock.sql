-- The smallest id of a job that is made at a time. Ids further ahead than a clock may be wrong are not looked at when the
-- newest one is asked for.
create function job_id_at(at timestamptz) returns uuid language sql stable parallel safe
    return (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
