alter table tokens
    -- What its user calls it.
    add column name text,
    -- The program that asked for it, as it says itself.
    add column client text,
    -- When it was shown last, give or take a minute.
    add column last_used_at timestamptz,
    -- The token that it was made with, with which it ends.
    add column made_by uuid,
    add constraint tokens_made_by_fkey foreign key (made_by) references tokens (id) on delete cascade;
create index tokens_made_by on tokens (made_by) where made_by is not null;
