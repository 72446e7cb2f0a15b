-- Where a server runs: its machine since that was started, and its data directory. A predecessor in the same place is
-- over, because the directory is locked; one in another place may be a copy that lives.
alter table workers add column place text not null default '';
