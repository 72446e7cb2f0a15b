-- What is remembered of logins: how often they failed, and from where they succeeded. A row is of one user and one
-- address, or of one of them, whatever the other was: that one is empty then.
create table logins (
    username text collate "C" not null,
    -- Of IPv6 the network, without the last 64 bits.
    address text collate "C" not null,
    -- How often it failed without a pause of an hour, and when it was last.
    failures integer not null default 0,
    failed_at timestamptz not null default '-infinity',
    -- When it succeeded last.
    succeeded_at timestamptz not null default '-infinity',
    constraint logins_pkey primary key (username, address)
);
