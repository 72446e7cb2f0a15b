-- The upload that a build's files are of, or are to be of: a job, under whose id they are stored. What it was is not
-- told by the job, which is forgotten in time.
alter table builds add column upload uuid;
create unique index builds_upload on builds (upload) where upload is not null;
