alter table users
    add column attributes json not null default '{}',
    add column revision bigint not null default nextval('revisions');

-- What a token may do at most, as permissions; none: all that its user may.
alter table tokens add column scope json;
