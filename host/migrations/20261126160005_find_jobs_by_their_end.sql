-- What has ended since a moment, for `GET /events`.
create index jobs_completed_at on jobs (completed_at) where completed_at is not null;
