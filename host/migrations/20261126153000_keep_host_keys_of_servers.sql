-- The key that the host of a server has shown on first contact: from then on it may show no other one.
alter table servers add column pinned_host_key text;
