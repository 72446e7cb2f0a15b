-- What the last check of a server found in a working copy: null where there was none since it was last pulled.
alter table gitdeploy_servers add column drift json;
