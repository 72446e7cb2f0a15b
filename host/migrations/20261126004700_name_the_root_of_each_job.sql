-- Jobs that come of one job, directly or not, are counted, and can be stopped together. Null: it was asked for by a user.
alter table jobs add column root uuid;
create index jobs_parent on jobs (parent, id) where parent is not null;

with recursive family as (
    select child.id, child.parent as root
    from jobs child left join jobs above on above.id = child.parent
    where child.parent is not null and above.parent is null
    union all
    select child.id, family.root from family join jobs child on child.parent = family.id
)
update jobs set root = family.root from family where jobs.id = family.id;

create index jobs_root on jobs (root, id) where root is not null;
