-- What the last check of a server came to, and when it was asked for: null where there was none since it is reached as it
-- is.
alter table servers add column health json;
alter table servers add column check_asked_at timestamptz;
