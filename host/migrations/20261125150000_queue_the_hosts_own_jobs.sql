-- A job without a plugin is the host's own work. '' rather than null, so that its lanes compare like all others.
update jobs set plugin = '' where plugin is null;
alter table jobs alter column plugin set default '', alter column plugin set not null;
